//! Whether the limits of the attachments are what their guards ask for.

use sillon_abi::Guards;

use super::Verifier;
use crate::dataplane::rates;

impl Verifier<'_> {
    pub(super) fn rates(&mut self) {
        let tables = self.tables;
        self.checked("rates", tables.rates.len());
        for (id, attachment) in &tables.attachments {
            let (name, uid) = (self.names().class(attachment.class), attachment.segment);
            let rates = tables.rates.get(id).copied().unwrap_or_default();
            if attachment.guards & Guards::RATES != rates::guards(&rates) {
                let what = format!(
                    "the attachment {name} looks at other limits than it has (profiles or storms)"
                );
                self.violation("rates", what, &[uid]);
            }
            if !rates::is_sound(&rates) {
                let what = format!("a bucket of {name} fills at another rate than it says");
                self.violation("rates", what, &[uid]);
            }
        }
    }
}
