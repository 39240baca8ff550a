//! Where in the kernel each port's frames are seen to.

use super::Reconciler;
use crate::{agent::hygiene::Setting, net::links::Link};

impl Reconciler {
    /// What the port on a link can't bear, which has to do with where its frames are seen to.
    pub(super) fn setting_of(&self, link: &Link) -> Setting {
        let is = self.attached.get(&link.ifindex);
        Setting::of(is.map_or(self.mode, |(_, mode)| *mode), link.kind.as_deref())
    }
}
