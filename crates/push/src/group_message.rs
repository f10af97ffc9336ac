//! What a group is sent, built once per group and launch: header fields and body around the key.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use burst_h2::{Field, Part, Template};
use message::FcmMessage;
use model::Platform;

use crate::apns::template::IdPrefix;
use crate::error::Error;
use crate::installation::Side;
use crate::pool::PoolId;
use crate::token::Token;

/// What every device of a group is sent in a launch, and through which pool. Clones are the same message.
pub struct GroupMessage<S>(Arc<Message>, PhantomData<fn(S)>);

impl<S: Side> GroupMessage<S> {
    pub(crate) fn new(message: Message) -> Self {
        Self(Arc::new(message), PhantomData)
    }

    pub(crate) fn inner(&self) -> &Arc<Message> {
        &self.0
    }
}

impl<S> Clone for GroupMessage<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<S: Side> fmt::Debug for GroupMessage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(S::NAME).field(&self.0.pool).finish()
    }
}

/// Without its side.
pub(crate) struct Message {
    pub(crate) pool: PoolId,
    pub(crate) body: Body,
    fields: Vec<Field>,
    /// What was built last. Threads ask once per shard, not per request.
    built: Mutex<Option<Built>>,
}

struct Built {
    generation: u64,
    ttl_s: u32,
    requests: Requests,
}

/// What all requests of a message have in common, with one token and, for FCM, one time to live. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// What differs is a [`Device`](crate::apns::template::Device).
    Apns { template: Template, id_prefix: IdPrefix },
    /// What differs is the key. A template for each kind of it.
    Fcm { token: Template, fid: Template },
}

/// What stands around the key.
pub(crate) enum Body {
    /// The key is in the path.
    Apns { payload: Box<[u8]>, id_prefix: IdPrefix },
    /// The key is in the body, and behind it a time to live that shrinks as the launch's end comes nearer.
    Fcm { message: FcmMessage, ttl_s_max: u32 },
}

impl Body {
    pub(crate) fn platform(&self) -> Platform {
        match self {
            Body::Apns { .. } => Platform::Apns,
            Body::Fcm { .. } => Platform::Fcm,
        }
    }
}

impl Message {
    /// # Errors
    /// A field that cannot stand in a request.
    pub(crate) fn new(pool: PoolId, fields: Vec<Field>, body: Body) -> Result<Self, Error> {
        Template::new(fields.clone()).map_err(|error| Error::Template(error.to_string()))?;
        Ok(Self { pool, body, fields, built: Mutex::new(None) })
    }

    /// The requests with the token of a generation; `ttl_s` counts for FCM only.
    pub(crate) fn requests(&self, generation: u64, token: &Token, ttl_s: u32) -> Result<Requests, Error> {
        // Nothing is done under the lock that could leave half a message.
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = &*built
            && (built.generation, built.ttl_s) == (generation, ttl_s)
        {
            return Ok(built.requests.clone());
        }
        let requests = self.build(token, ttl_s)?;
        *built = Some(Built { generation, ttl_s, requests: requests.clone() });
        Ok(requests)
    }

    fn build(&self, token: &Token, ttl_s: u32) -> Result<Requests, Error> {
        let with_body = |body| with_token(self.fields.clone(), body, token);
        match &self.body {
            Body::Apns { payload, id_prefix } => {
                let template = with_body(vec![Part::constant(payload)])?;
                Ok(Requests::Apns { template, id_prefix: *id_prefix })
            }
            Body::Fcm { message, .. } => {
                let suffix = message.suffix_for(ttl_s);
                let around =
                    |prefix: &[u8]| vec![Part::constant(prefix), Part::Varying, Part::constant(&suffix)];
                let token = with_body(around(&message.token_prefix))?;
                Ok(Requests::Fcm { token, fid: with_body(around(&message.fid_prefix))? })
            }
        }
    }
}

/// The template of `fields`, the token and `body`.
pub(crate) fn with_token(mut fields: Vec<Field>, body: Vec<Part>, token: &Token) -> Result<Template, Error> {
    let value = [b"bearer ", token.text.reveal()].concat();
    fields.push(Field::constant("authorization", value));
    // The error names the field and not its value.
    Template::with_body(fields, body).map_err(|error| Error::Template(error.to_string()))
}
