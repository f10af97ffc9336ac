//! A seeded population: users with one to three devices, seven markets with their languages, half of the devices iPhones.
//! The same seed and number give the same people.

use std::fmt::Write as _;

use model::runtime::mix;
use model::{Device, Platform, Timestamp};

/// The demo's APNs topic.
pub(crate) const TOPIC: &str = "org.example.fanfare";
/// The demo's FCM project.
pub(crate) const PROJECT: &str = "fanfare-demo";

/// Markets with their share of users in percent and the languages spoken there.
const MARKETS: [(&str, u64, &[&str]); 7] = [
    ("us", 40, &["en-US", "es-US"]),
    ("br", 20, &["pt-BR"]),
    ("mx", 12, &["es-MX"]),
    ("de", 10, &["de-DE", "tr"]),
    ("fr", 8, &["fr-FR"]),
    ("jp", 6, &["ja-JP"]),
    ("in", 4, &["en-IN", "hi-IN"]),
];

/// Every 20th FCM device registered by Firebase Installation ID instead of a token.
const FID_EVERY: u64 = 20;
/// One listed user in a thousand is not in the directory.
const UNKNOWN_EVERY: u64 = 1_000;
/// One listed user in two thousand stands in the list twice.
const DUPLICATE_EVERY: u64 = 2_000;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `devices` devices and their users, as they follow from `seed`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) seed: u64,
    pub(crate) devices: u64,
    pub(crate) registered_at: Timestamp,
    /// The provider of all devices; half of them are iPhones when `None`.
    pub(crate) only: Option<Platform>,
}

impl Population {
    /// How many of them are this provider's.
    pub(crate) fn of(self, platform: Platform) -> u64 {
        match (self.only, platform) {
            (Some(only), _) => self.devices * u64::from(only == platform),
            (None, Platform::Apns) => self.devices.div_ceil(2),
            (None, Platform::Fcm) => self.devices / 2,
        }
    }

    /// Every device, by user.
    pub(crate) fn devices(self) -> impl Iterator<Item = Device> {
        let mut user = 0;
        let mut left_of_user = devices_of_user(self.seed, 0);
        (0..self.devices).map(move |number| {
            if left_of_user == 0 {
                user += 1;
                left_of_user = devices_of_user(self.seed, user);
            }
            left_of_user -= 1;
            self.device(number, user)
        })
    }

    fn device(self, number: u64, user: u64) -> Device {
        let (market, _, languages) = market_of_user(self.seed, user);
        let in_turn = if number.is_multiple_of(2) { Platform::Apns } else { Platform::Fcm };
        let platform = self.only.unwrap_or(in_turn);
        let mut random = Bits::new(self.seed, number);
        let (app, key) = match platform {
            Platform::Apns => (TOPIC, apns_key(&mut random)),
            Platform::Fcm => (PROJECT, fcm_key(&mut random, number)),
        };
        Device {
            user: user_id(user),
            platform,
            key,
            app: app.into(),
            locale: languages[(self.bits(user, 2) % languages.len() as u64) as usize].into(),
            market: market.into(),
            registered_at: self.registered_at,
        }
    }

    fn bits(self, user: u64, purpose: u64) -> u64 {
        mix(self.seed ^ mix(user << 3 | purpose))
    }

    /// The list that is uploaded: every user, some twice, and some whom the directory does not know.
    pub(crate) fn listed_users(self) -> impl Iterator<Item = String> {
        let mut covered = 0;
        (0_u64..)
            .take_while(move |&user| {
                let is_in = covered < self.devices;
                covered += devices_of_user(self.seed, user);
                is_in
            })
            .flat_map(|user| {
                let again = user.is_multiple_of(DUPLICATE_EVERY).then(|| user_id(user));
                let unknown = (user % UNKNOWN_EVERY == 1).then(|| format!("nobody-{user}"));
                [Some(user_id(user)), again, unknown].into_iter().flatten()
            })
    }
}

fn user_id(user: u64) -> String {
    format!("user-{user:08}")
}

/// Six users in ten have one device, three have two, one has three: 1.5 each.
fn devices_of_user(seed: u64, user: u64) -> u64 {
    match mix(seed ^ mix(user << 3)) % 10 {
        0..6 => 1,
        6..9 => 2,
        _ => 3,
    }
}

fn market_of_user(seed: u64, user: u64) -> (&'static str, u64, &'static [&'static str]) {
    let mut point = mix(seed ^ mix(user << 3 | 1)) % 100;
    for market in MARKETS {
        if point < market.1 {
            return market;
        }
        point -= market.1;
    }
    MARKETS[0]
}

/// An endless row of random bits.
struct Bits {
    state: u64,
}

impl Bits {
    fn new(seed: u64, number: u64) -> Self {
        Self { state: mix(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ mix(number)) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

/// 32 random bytes as hex.
fn apns_key(random: &mut Bits) -> String {
    let mut key = String::with_capacity(64);
    for _ in 0..4 {
        write!(key, "{:016x}", random.next()).expect("a string takes every text");
    }
    key
}

/// A registration token as they are today, 22 characters, a colon and 140 more; or a Firebase Installation ID.
fn fcm_key(random: &mut Bits, number: u64) -> String {
    let mut key = String::with_capacity(163);
    if (number / 2).is_multiple_of(FID_EVERY) {
        // A FID's first character carries the type in four bits (0111): c to f.
        key.push(char::from(b"cdef"[(random.next() % 4) as usize]));
        base64url(&mut key, random, 21);
        return key;
    }
    base64url(&mut key, random, 21);
    // 16 bytes are 128 bits: the 22nd character carries only two of them.
    key.push(char::from(b"AQgw"[(random.next() % 4) as usize]));
    key.push_str(":APA91b");
    base64url(&mut key, random, 134);
    key
}

fn base64url(text: &mut String, random: &mut Bits, characters: usize) {
    let mut left = characters;
    while left > 0 {
        let bits = random.next();
        for place in 0..left.min(10) {
            text.push(char::from(BASE64URL[(bits >> (6 * place) & 63) as usize]));
        }
        left -= left.min(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn population(devices: u64) -> Population {
        Population { seed: 42, devices, registered_at: Timestamp::from_secs(1), only: None }
    }

    #[test]
    fn the_same_seed_gives_the_same_people_and_every_device_passes_the_directory_s_check() {
        let devices: Vec<Device> = population(5_000).devices().collect();
        assert_eq!(devices, population(5_000).devices().collect::<Vec<_>>());
        let keys: HashSet<_> = devices.iter().map(|device| &device.key).collect();
        assert_eq!(keys.len(), 5_000);
        for device in &devices {
            assert_eq!(device.clone().checked().as_ref(), Ok(device));
        }
        let apns = devices.iter().filter(|device| device.platform == Platform::Apns).count();
        assert_eq!(apns, 2_500);
    }

    #[test]
    fn the_list_names_every_owner_and_some_nobodies() {
        let owners: HashSet<_> = population(5_000).devices().map(|device| device.user).collect();
        let listed: Vec<_> = population(5_000).listed_users().collect();
        let distinct: HashSet<_> = listed.iter().cloned().collect();
        assert!(distinct.is_superset(&owners));
        assert!(listed.len() > distinct.len());
        assert!(distinct.iter().any(|user| user.starts_with("nobody-")));
        assert_eq!(distinct.iter().filter(|user| user.starts_with("user-")).count(), owners.len());
    }

    #[test]
    fn devices_of_one_provider_are_all_of_it() {
        for only in Platform::ALL {
            let people = Population { only: Some(only), ..population(1_001) };
            assert!(people.devices().all(|device| device.platform == only));
            assert_eq!(Platform::ALL.map(|platform| people.of(platform)).iter().sum::<u64>(), 1_001);
        }
        assert_eq!(Platform::ALL.map(|platform| population(1_001).of(platform)), [501, 500]);
    }

    #[test]
    fn markets_share_all_users() {
        assert_eq!(MARKETS.iter().map(|market| market.1).sum::<u64>(), 100);
    }
}
