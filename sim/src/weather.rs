//! What goes wrong around the service, and how often.

use crate::dice::Dice;

/// How often each fault happens, in a thousand calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// The store fails before it did anything.
    pub store_before: u32,
    /// The store did it, and the answer is lost.
    pub store_after: u32,
    /// The store takes its time.
    pub store_slow: u32,
    /// The disk takes nothing more.
    pub disk_full: u32,
    /// A token request cannot be sent.
    pub not_sent: u32,
    /// It is lost on the way there.
    pub lost_request: u32,
    /// Its answer is lost.
    pub lost_answer: u32,
    /// Its answer comes after the deadline.
    pub late_answer: u32,
    /// The provider reads it only after the deadline.
    pub late_request: u32,
    /// It is slow, but in time.
    pub slow: u32,
    /// 429 with `Retry-After`; nothing was done.
    pub limited: u32,
    /// 500 or 503; nothing was done.
    pub broken: u32,
    /// A gateway answers 504, although the provider did it.
    pub gateway: u32,
    /// The provider did it, and the answer cannot be read.
    pub garbled: u32,
    /// An API call brings nothing.
    pub api_lost: u32,
    /// The API rejects a token that is good.
    pub api_rejects: u32,
}

impl Chances {
    /// Whether the store and the providers nearly always do what they are asked to: where they do not, pauses grow.
    pub fn are_mild(&self) -> bool {
        let to_providers = [
            self.not_sent,
            self.lost_request,
            self.lost_answer,
            self.late_answer,
            self.late_request,
            self.limited,
            self.broken,
            self.gateway,
            self.garbled,
        ];
        self.store_before.max(self.store_after) <= 50 && to_providers.iter().sum::<u32>() <= 100
    }

    /// Some faults, each of them seldom or often; often none at all of a kind, so that the others have their say.
    pub fn draw(dice: &Dice) -> Self {
        let most = *dice.pick(&[0, 20, 100, 300]);
        let one = || -> u32 {
            if most > 0 && dice.happens(400) {
                u32::try_from(dice.between(1, most)).unwrap_or(0)
            } else {
                0
            }
        };
        Self {
            store_before: one(),
            store_after: one(),
            store_slow: one(),
            disk_full: one(),
            not_sent: one(),
            lost_request: one(),
            lost_answer: one(),
            late_answer: one(),
            late_request: one(),
            slow: one(),
            limited: one(),
            broken: one(),
            gateway: one(),
            garbled: one(),
            api_lost: one(),
            api_rejects: one(),
        }
    }
}

/// What a provider suffers from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sky {
    /// Nothing gets through.
    pub is_down: bool,
    /// It answers `invalid_grant` to everything, by mistake.
    pub is_mistaken: bool,
}

/// Everything that goes wrong at present.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// How often each fault happens.
    pub chances: Chances,
    /// Nobody reaches the store.
    pub store_is_down: bool,
    /// Over each provider.
    pub skies: Vec<Sky>,
}

impl Weather {
    /// The end of all faults.
    pub fn clear(&mut self) {
        self.chances = Chances::default();
        self.store_is_down = false;
        self.skies.iter_mut().for_each(|sky| *sky = Sky::default());
    }
}
