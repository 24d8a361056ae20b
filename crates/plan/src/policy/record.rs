//! What was seen loaded, over some boots.

use std::collections::BTreeMap;

use super::Because;

/// The name and version of the form in which a record is kept.
const SCHEMA: &str = "ferrmod.policy-record/1";

/// What was seen loaded.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// `ferrmod.policy-record/1`.
    pub schema: String,
    /// The boots that were watched, in the order in which they were.
    pub boots: Vec<Boot>,
}

/// One boot that was watched.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Boot {
    /// The kernel's name for it (`/proc/sys/kernel/random/boot_id`).
    pub id: String,
    /// The kernel's release.
    pub kernel: String,
    /// Seconds after the boot at which watching began.
    pub from: f64,
    /// Seconds after the boot of the last look.
    pub until: f64,
    /// The modules seen.
    pub modules: BTreeMap<String, Seen>,
}

/// One module in one boot.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Seen {
    /// Seconds after the boot at which it was seen first.
    pub first: f64,
    /// Seconds after the boot at which it was seen last.
    pub last: f64,
    /// Whether anything used it in one of the looks: a reference, or a device that its driver has.
    pub used: bool,
}

/// When the last module had come, so that none is missed when loading is forbidden from then on.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Settled {
    /// Seconds after the boot, in the slowest of the boots.
    pub after: f64,
    /// For how many seconds nothing new had come when watching ended, in the boot that was watched least long.
    pub quiet: f64,
    /// How many boots it is known from.
    pub boots: usize,
    /// The modules that came while it was watched, the last first: what a system would lack whose modules are forbidden earlier.
    pub late: Vec<Late>,
}

/// A module that came late.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Late {
    /// The module.
    pub module: String,
    /// Seconds after the boot, in the slowest of the boots.
    pub after: f64,
}

/// Why something is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is of another kind or version.
    #[error("not a record of use: its schema is {0:?} and not \"ferrmod.policy-record/1\"")]
    Schema(String),
    /// A time is none.
    #[error("boot {boot}: {what} has no sensible time")]
    Time {
        /// The boot's name.
        boot: String,
        /// The module, or `it`.
        what: String,
    },
}

impl Default for Record {
    fn default() -> Self {
        Self { schema: SCHEMA.to_owned(), boots: Vec::new() }
    }
}

impl Record {
    /// Holds together what was read.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn checked(self) -> Result<Record, RecordError> {
        if self.schema != SCHEMA {
            return Err(RecordError::Schema(self.schema));
        }
        let ordered = |from: f64, until: f64| from.is_finite() && until.is_finite() && 0.0 <= from && from <= until;
        for boot in &self.boots {
            let error = |what: &str| RecordError::Time { boot: boot.id.clone(), what: what.to_owned() };
            if !ordered(boot.from, boot.until) {
                return Err(error("it"));
            }
            for (name, seen) in &boot.modules {
                if !ordered(seen.first, seen.last) || seen.first < boot.from || seen.last > boot.until {
                    return Err(error(name));
                }
            }
        }
        Ok(self)
    }

    /// Notes what is loaded `uptime` seconds after the boot `id`: names, and whether they are in use.
    ///
    /// Answers with the names that were not seen in this boot before.
    pub fn look(
        &mut self,
        id: &str,
        kernel: &str,
        uptime: f64,
        loaded: impl IntoIterator<Item = (String, bool)>,
    ) -> Vec<String> {
        let known = self.boots.iter().position(|boot| boot.id == id);
        let at = known.unwrap_or(self.boots.len());
        if known.is_none() {
            self.boots.push(Boot {
                id: id.to_owned(),
                kernel: kernel.to_owned(),
                from: uptime,
                until: uptime,
                modules: BTreeMap::new(),
            });
        }
        let Some(boot) = self.boots.get_mut(at) else { return Vec::new() };
        // The clock of a boot does not go back; a record from elsewhere may be ahead.
        let now = uptime.max(boot.until);
        boot.until = now;
        let mut new = Vec::new();
        for (name, used) in loaded {
            let seen = boot.modules.entry(name).or_insert_with_key(|name| {
                new.push(name.clone());
                Seen { first: now, last: now, used }
            });
            seen.last = now;
            seen.used |= used;
        }
        new
    }

    /// What was seen, and in how many boots.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<String, Because> {
        let mut wanted: BTreeMap<String, (usize, bool)> = BTreeMap::new();
        for (name, seen) in self.boots.iter().flat_map(|boot| &boot.modules) {
            let (boots, used) = wanted.entry(name.clone()).or_default();
            *boots += 1;
            *used |= seen.used;
        }
        wanted.into_iter().map(|(name, (boots, used))| (name, Because::Seen { boots, used })).collect()
    }

    /// When the last module had come; `None` when no boot was watched.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        let last = |boot: &Boot| boot.modules.values().map(|seen| seen.first).fold(boot.from, f64::max);
        let mut late: BTreeMap<&str, f64> = BTreeMap::new();
        for boot in &self.boots {
            for (name, seen) in boot.modules.iter().filter(|(_, seen)| seen.first > boot.from) {
                let after = late.entry(name).or_insert(seen.first);
                *after = after.max(seen.first);
            }
        }
        let mut late: Vec<Late> =
            late.into_iter().map(|(module, after)| Late { module: module.to_owned(), after }).collect();
        late.sort_by(|a, b| b.after.total_cmp(&a.after));
        Some(Settled {
            after: self.boots.iter().map(last).reduce(f64::max)?,
            quiet: self.boots.iter().map(|boot| boot.until - last(boot)).reduce(f64::min)?,
            boots: self.boots.len(),
            late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(names: &[&str]) -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), *name == "ext4")).collect()
    }

    #[test]
    fn boots_are_kept_apart_and_times_are_those_of_the_slowest() {
        let mut record = Record::default();
        assert_eq!(record.look("a", "6.1", 5.0, loaded(&["ext4", "mbcache"])).len(), 2);
        assert!(record.look("a", "6.1", 10.0, loaded(&["ext4"])).is_empty());
        assert_eq!(record.look("a", "6.1", 30.0, loaded(&["ext4", "fuse"])), ["fuse"]);
        record.look("a", "6.1", 100.0, loaded(&["ext4"]));
        record.look("b", "6.1", 4.0, loaded(&["ext4", "mbcache"]));
        record.look("b", "6.1", 14.0, loaded(&["ext4"]));
        let record = record.checked().unwrap();
        assert_eq!(record.boots.len(), 2);
        let wanted = record.wanted();
        assert_eq!(wanted.get("ext4"), Some(&Because::Seen { boots: 2, used: true }));
        assert_eq!(wanted.get("fuse"), Some(&Because::Seen { boots: 1, used: false }));
        let settled = record.settled().unwrap();
        assert_eq!((settled.after, settled.quiet, settled.boots), (30.0, 10.0, 2));
        assert_eq!(settled.late, [Late { module: "fuse".to_owned(), after: 30.0 }]);
        assert_eq!(Record::default().settled(), None);
    }

    #[test]
    fn what_holds_no_sense_is_refused() {
        let mut record = Record::default();
        record.look("a", "6.1", 5.0, loaded(&["ext4"]));
        let mut other = record.clone();
        other.schema = "ferrmod.policy/1".to_owned();
        assert!(matches!(other.checked(), Err(RecordError::Schema(_))));
        for time in [f64::NAN, -1.0, 7.0, f64::INFINITY] {
            let mut other = record.clone();
            other.boots[0].modules.get_mut("ext4").unwrap().first = time;
            assert!(matches!(other.checked(), Err(RecordError::Time { .. })), "{time}");
        }
        assert!(record.checked().is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_nonsense() {
        let mut record = Record::default();
        record.look("a", "6.1", 50.0, loaded(&["ext4"]));
        record.look("a", "6.1", 20.0, loaded(&["fuse"]));
        assert!(record.checked().is_ok());
    }
}
