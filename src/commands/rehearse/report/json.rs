//! The report for programs: one document.

use super::Report;
use crate::error::Error;
use crate::output::Printer;

pub(in crate::commands::rehearse) fn print(
    report: &Report,
    printer: &mut Printer,
) -> Result<(), Error> {
    printer.json(report)
}
