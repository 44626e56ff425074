//! Error codes with status, title and constant detail, and the problem body made of them.
//!
//! Only codes that the model can answer: it has no connections, no memory limit and no other
//! methods.

use super::Reply;
use super::json::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    InvalidJson(Fault),
    LineTooLong,
    UnknownField,
    MissingField,
    InvalidField,
    AmountNegative,
    EntryInFuture,
    EntryTooOld,
    EntryIdConflict,
    PendingNotFound,
    PendingMismatch,
    TooManyCurrencies,
    TooManyGroups,
    TooManyHolds,
    BalanceOverflow,
    InvalidParameter,
    InvalidWindow,
    NotFound,
    UserNotFound,
    MethodNotAllowed,
    ContentTooLarge,
    TooManyItems,
}

impl Code {
    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub fn detail(self) -> &'static str {
        self.row().1
    }

    /// Status and title when the code answers a whole request; a rejected entry has none.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Code::NotFound | Code::UserNotFound => (404, "Not Found"),
            Code::MethodNotAllowed => (405, "Method Not Allowed"),
            Code::ContentTooLarge | Code::TooManyItems => (413, "Content Too Large"),
            _ => (400, "Bad Request"),
        }
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Code::InvalidJson(fault) => ("invalid_json", fault.detail()),
            Code::LineTooLong => ("line_too_long", "The line is longer than 65,536 bytes."),
            Code::UnknownField => ("unknown_field", "This member is unknown."),
            Code::MissingField => ("missing_field", "A required member is missing."),
            Code::InvalidField => (
                "invalid_field",
                "The member's value has the wrong type, format or range, or the member is not \
                 allowed here.",
            ),
            Code::AmountNegative => (
                "amount_negative",
                "The amount is negative: send a positive one with direction debit or credit.",
            ),
            Code::EntryInFuture => (
                "entry_in_future",
                "The booking time is more than one hour ahead of this server's clock.",
            ),
            Code::EntryTooOld => (
                "entry_too_old",
                "The booking time lies before this user's dedup window: send it with late=accept \
                 if it was never accepted.",
            ),
            Code::EntryIdConflict => (
                "entry_id_conflict",
                "This user already has an entry with that id, with other fields or with a hold \
                 that is still open.",
            ),
            Code::PendingNotFound => (
                "pending_not_found",
                "This user has no open hold with that id, and the line gives no currency, kind \
                 and direction of its own.",
            ),
            Code::PendingMismatch => (
                "pending_mismatch",
                "The open hold with that id has another currency or another direction.",
            ),
            Code::TooManyCurrencies => {
                ("too_many_currencies", "This user already has 16 currencies.")
            }
            Code::TooManyGroups => (
                "too_many_groups",
                "This user already has 256 groups of currency, kind and direction.",
            ),
            Code::TooManyHolds => ("too_many_holds", "This user already has 65,536 open holds."),
            Code::BalanceOverflow => (
                "balance_overflow",
                "A balance, a pending sum or a lifetime sum would overflow a 64-bit integer.",
            ),
            Code::InvalidParameter => (
                "invalid_parameter",
                "A parameter is unknown, repeated, empty or has a value that is not allowed.",
            ),
            Code::InvalidWindow => (
                "invalid_window",
                "The window must be lifetime, or a multiple of 15m from 15m to 400d, such as 24h \
                 or 7d.",
            ),
            Code::NotFound => ("not_found", "There is nothing at this path."),
            Code::UserNotFound => ("user_not_found", "No entry of this user has been accepted."),
            Code::MethodNotAllowed => (
                "method_not_allowed",
                "This path does not support that method: see the allow header.",
            ),
            Code::ContentTooLarge => {
                ("content_too_large", "The body is larger than this path accepts.")
            }
            Code::TooManyItems => {
                ("too_many_items", "The body has more items than one request may have.")
            }
        }
    }
}

/// A code and the member or parameter that it is about: `""` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub field: String,
}

impl Problem {
    pub fn new(code: Code, field: impl Into<String>) -> Self {
        Self { code, field: field.into() }
    }

    pub fn body(&self) -> String {
        let (status, title) = self.code.status();
        format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{}\",\
             \"detail\":\"{}\",\"field\":\"{}\"}}",
            self.code.name(),
            self.code.detail(),
            self.field,
        )
    }

    pub fn reply(&self) -> Reply {
        Reply {
            status: self.code.status().0,
            content_type: "application/problem+json",
            etag: None,
            body: self.body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_body_equals_the_contract_s_example() {
        let reply = Problem::new(Code::UserNotFound, "").reply();
        assert_eq!(reply.status, 404);
        assert_eq!(
            reply.body,
            concat!(
                r#"{"type":"about:blank","title":"Not Found","status":404,"#,
                r#""code":"user_not_found","detail":"No entry of this user has been accepted.","#,
                r#""field":""}"#
            )
        );
    }
}
