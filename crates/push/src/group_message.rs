//! What a group is sent, built once per group and launch: header fields and body around the key.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use burst_h2::{Field, Template};
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
    /// The template with the token of this generation. Threads ask once per shard, not per request.
    built: Mutex<Option<(u64, Template)>>,
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

    /// The template for the token of a generation.
    pub(crate) fn template(&self, generation: u64, token: &Token) -> Result<Template, Error> {
        // Nothing is done under the lock that could leave half a template.
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, template)) = &*built
            && *known == generation
        {
            return Ok(template.clone());
        }
        let template = with_token(self.fields.clone(), token)?;
        *built = Some((generation, template.clone()));
        Ok(template)
    }
}

/// The template of `fields` and the token.
pub(crate) fn with_token(mut fields: Vec<Field>, token: &Token) -> Result<Template, Error> {
    let value = [b"bearer ", token.text.reveal()].concat();
    fields.push(Field::constant("authorization", value));
    // The error names the field and not its value.
    Template::new(fields).map_err(|error| Error::Template(error.to_string()))
}
