//! A sample of a frozen audience: chosen by lot among the people of its snapshot, whose devices become another snapshot.

use std::path::{Path, PathBuf};

use backend::rows::audience;
use device_map::{DeviceFields, Snapshot, Users};
use model::device::KEY_CHARS_MAX;
use model::selection::{Lots, Sample};
use model::suppression::UserBits;
use model::{AudienceId, Digest, Group, Manifest, Timestamp};

use crate::desk::{AtWork, Desk};
use crate::door::{Door, NOT_CHOSEN};
use crate::error::{Error, Failure};
use crate::freeze::Freezer;
use crate::left_out::LeftOut;
use crate::resolve::Work;
use crate::upload::step;

/// What came of the drawing.
pub(crate) struct Drawn {
    pub(crate) manifest: Manifest,
    /// People of the audience that the sample is of, with a device in its markets.
    pub(crate) users: u64,
    pub(crate) left_out: LeftOut,
    /// Devices of all of them in its markets.
    pub(crate) found_devices: u64,
}

/// Where a frozen audience lies.
struct Source {
    snapshot: Digest,
    map: PathBuf,
    users: PathBuf,
}

/// Draws `sample` into a snapshot in `folder`.
pub(crate) async fn draw(
    work: &mut Work<'_>,
    sample: Sample,
    door: Door,
    folder: &Path,
) -> std::result::Result<Drawn, Failure> {
    let desk = work.desk;
    let source = Source::find(desk, sample.of).await?;
    let mut others = Vec::new();
    for id in &sample.disjoint_from {
        others.push(Source::find(desk, *id).await?);
    }
    let freezer = Freezer::new(desk, folder);
    let left_out = LeftOut::new(folder, desk.config.limits.left_out_listed_max);
    let drawing = step(move || draw_from(&source, &others, &sample, &door, freezer, left_out));
    work.during(drawing).await?
}

impl Source {
    async fn find(desk: &Desk, id: AudienceId) -> std::result::Result<Self, Failure> {
        let row = audience::get(&*desk.backend.store, id).await?;
        let snapshot = row.and_then(|row| row.body.snapshot());
        let snapshot = snapshot.ok_or_else(|| Failure::Refused(format!("audience {id} is not frozen")))?;
        let map = desk.file(&audience::snapshot_blob(snapshot)).await?;
        let users = desk.file(&audience::users_blob(snapshot)).await?;
        Ok(Self { snapshot, map, users })
    }

    fn users(&self) -> std::result::Result<Users, Failure> {
        Ok(Users::open(&self.users, Snapshot::read_users_digest(&self.map)?)?)
    }
}

fn draw_from(
    source: &Source,
    others: &[Source],
    sample: &Sample,
    door: &Door,
    mut freezer: Freezer,
    mut left_out: LeftOut,
) -> std::result::Result<Drawn, Failure> {
    let snapshot = Snapshot::open(&source.map, source.snapshot)?;
    let users = source.users()?;
    let is_wanted = |group: &Group| {
        (sample.markets.is_empty() || sample.markets.contains(&group.market))
            && (sample.platforms.is_empty() || sample.platforms.contains(&group.platform))
    };
    let groups: Vec<(u32, &Group)> =
        (0..).zip(snapshot.groups()).filter(|(_, group)| is_wanted(group)).collect();
    let mut eligible = UserBits::new(u64::from(users.len()));
    for (index, group) in &groups {
        for device in snapshot.range(*index, 0, group.devices)? {
            eligible.set(u64::from(device.user_ordinal()));
        }
    }
    let all = eligible.clone();
    for other in others {
        take_away(&mut eligible, &users, &other.users()?);
    }
    let Chosen { chosen, turned_away } = choose(&eligible, &users, sample, door)?;
    let why = |ordinal: u32| {
        let found = turned_away.binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal);
        found.map_or(NOT_CHOSEN, |index| turned_away[index].1)
    };
    for ordinal in (0..users.len()).filter(|ordinal| all.contains(u64::from(*ordinal))) {
        if !chosen.contains(u64::from(ordinal)) {
            left_out.user(why(ordinal), users.id(ordinal).unwrap_or_default(), 0)?;
        }
    }
    let found_devices = groups.iter().map(|(_, group)| u64::from(group.devices)).sum();
    let mut key = [0; KEY_CHARS_MAX];
    for (index, group) in groups {
        for device in snapshot.range(index, 0, group.devices)? {
            let ordinal = device.user_ordinal();
            if !chosen.contains(u64::from(ordinal)) {
                left_out.devices(why(ordinal), 1);
                continue;
            }
            let chars = device.text_into(&mut key);
            let (key, user) = (std::str::from_utf8(&key[..chars]), users.id(ordinal));
            let (Ok(key), Some(user)) = (key, user) else { return Err(damaged(source)) };
            let Group { platform, app, locale, market, .. } = group;
            // A snapshot has each device once, so nothing depends on its time.
            let registered_at = Timestamp(0);
            freezer.push_fields(&DeviceFields {
                user,
                platform: *platform,
                key,
                app,
                locale,
                market,
                registered_at,
            })?;
        }
    }
    let manifest = freezer.finish(&mut left_out)?;
    Ok(Drawn { manifest, users: all.count(), left_out, found_devices })
}

fn damaged(source: &Source) -> Failure {
    Error::Missing(format!("a device of snapshot {}", source.snapshot)).into()
}

/// Clears the bits of people who are in the other list; both are sorted.
fn take_away(eligible: &mut UserBits, users: &Users, other: &Users) {
    let (mut mine, mut theirs) = (0, 0);
    while let (Some(one), Some(two)) = (users.id(mine), other.id(theirs)) {
        match one.as_bytes().cmp(two.as_bytes()) {
            std::cmp::Ordering::Less => mine += 1,
            std::cmp::Ordering::Greater => theirs += 1,
            std::cmp::Ordering::Equal => {
                eligible.clear(u64::from(mine));
                (mine, theirs) = (mine + 1, theirs + 1);
            }
        }
    }
}

/// Who comes in.
struct Chosen {
    chosen: UserBits,
    /// Those who might not be chosen, by ordinal, and why.
    turned_away: Vec<(u32, &'static str)>,
}

/// The people with the lowest lots among those who may come in.
fn choose(
    eligible: &UserBits,
    users: &Users,
    sample: &Sample,
    door: &Door,
) -> std::result::Result<Chosen, Failure> {
    let lots = Lots::of_sample(sample.seed);
    let (mut drawn, mut turned_away): (Vec<(u64, u32)>, Vec<_>) = (Vec::new(), Vec::new());
    for ordinal in (0..users.len()).filter(|ordinal| eligible.contains(u64::from(*ordinal))) {
        let user = users.id(ordinal).unwrap_or_default();
        match door.turns_away(user) {
            Some(reason) => turned_away.push((ordinal, reason)),
            None => drawn.push((lots.draw(user), ordinal)),
        }
    }
    let wanted = usize::try_from(sample.users).unwrap_or(usize::MAX);
    if drawn.len() < wanted {
        let why = format!(
            "the sample is to have {wanted} people and there are {} to choose from: ask for fewer, or leave nobody out",
            drawn.len()
        );
        return Err(Failure::Refused(why));
    }
    if wanted < drawn.len() {
        drawn.select_nth_unstable(wanted);
        drawn.truncate(wanted);
    }
    let mut chosen = UserBits::new(u64::from(users.len()));
    drawn.iter().for_each(|(_, ordinal)| chosen.set(u64::from(*ordinal)));
    Ok(Chosen { chosen, turned_away })
}
