//! Values of boolean environment variables.

use clap::builder::TypedValueParser;
use clap::error::{Error, ErrorKind};
use clap::{Arg, Command};
use std::ffi::OsStr;

/// Parses the variable of a flag that has no value on the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boolean;

impl TypedValueParser for Boolean {
    type Value = bool;

    fn parse_ref(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &OsStr,
    ) -> Result<bool, Error> {
        parse(value).ok_or_else(|| {
            let variable = flag.and_then(Arg::get_env).unwrap_or_default().display();
            let message = format!(
                "{variable} is '{}': give it 1, true, yes or on, or else 0, false, no or off\n",
                value.display()
            );
            Error::raw(ErrorKind::InvalidValue, message).with_cmd(command)
        })
    }
}

fn parse(value: &OsStr) -> Option<bool> {
    match value.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_true_and_false() {
        let parsed = |text: &str| parse(OsStr::new(text));
        assert!(["1", "true", "YES", "On"].iter().all(|text| parsed(text) == Some(true)));
        assert!(["0", "False", "no", "OFF"].iter().all(|text| parsed(text) == Some(false)));
        assert!(["", "2", "tru", "y", " 1"].iter().all(|text| parsed(text).is_none()));
    }
}
