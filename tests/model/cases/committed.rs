//! Whatever was committed is taken: late entries, holds in every form, and the past balances that
//! they make.

use super::{NOW, balances, body, check, hold, posted, settle, t, told, void};
use crate::model::Model;
use crate::model::stats::{DAY, MINUTE};

fn check_late(model: &mut Model, rows: &[(String, &str)]) {
    for (index, (line, wanted)) in rows.iter().enumerate() {
        let met = told(model.apply_line(NOW, true, line.as_bytes()));
        assert_eq!(met, *wanted, "row {index}: {line}");
    }
}

/// Replaces the end of a line by more members.
fn with(line: &str, more: &str) -> String {
    line.replace('}', &format!(",{more}}}"))
}

#[test]
fn late_entries_are_accepted_on_demand_and_count_where_they_belong() {
    let mut model = Model::new();
    let now = t(1000, 12, 0);
    let at = [now, now - DAY - 1, t(999, 9, 40), t(992, 11, 0), t(600, 1, 0), t(599, 1, 0), 0];
    let line = |n: usize| posted(&n.to_string(), "COIN gift credit", 1 << n, at[n]);
    check(&mut model, &[(line(0), "ok"), (line(1), "entry_too_old at_ms")]);
    let rows: Vec<_> = (1..7).map(|n| (line(n), "ok")).collect();
    check_late(&mut model, &rows);
    check_late(
        &mut model,
        &[(line(6), "duplicate"), (line(5).replace("32", "33"), "entry_id_conflict entry_id")],
    );
    check(&mut model, &[(line(6), "entry_too_old at_ms")]);
    let sum = |window: &str, at: i64| {
        let target = format!("/v1/users/42/stats?window={window}&at_ms={at}");
        let body = body(&model, &target);
        body.split(r#""sum":"#).nth(1).map(|rest| rest.split(',').next().unwrap().to_owned())
    };
    let is = |sum: i64| Some(sum.to_string());
    // Buckets, hours and days; what is before the days that are kept counts in the lifetime alone.
    assert_eq!(sum("15m", at[1]), is(2));
    assert_eq!((sum("15m", at[2]), sum("15m", t(999, 9, 0))), (is(4), is(4)));
    assert_eq!((sum("15m", at[3]), sum("15m", t(992, 11, 59))), (is(8), is(8)));
    assert_eq!((sum("15m", at[4]), sum("15m", t(600, 23, 59))), (is(16), is(16)));
    assert_eq!((sum("15m", at[5]), sum("15m", 0)), (None, None));
    assert!(body(&model, "/v1/users/42/stats?window=lifetime").contains(r#""sum":127,"#));
    assert!(balances(&model).contains("posted:127,"));
}

#[test]
fn holds_grow_are_captured_in_parts_and_may_be_exceeded() {
    let mut model = Model::new();
    let at = 1_000_000_000;
    let final_false = |line: &str| with(line, r#""final":false"#);
    let own = |line: &str| with(line, r#""currency":"COIN","kind":"own","direction":"debit""#);
    let grow =
        |id: &str, hold: &str, amount| with(&settle(id, hold, amount, at), r#""state":"pending""#);
    let void_part =
        |id: &str, hold: &str, amount| with(&void(id, hold, at), &format!(r#""amount":{amount}"#));
    let figures = |model: &Model, posted: i64, debits: i64| {
        let wanted = format!(
            "[{{COIN,posted:{posted},pending_debits:{debits},pending_credits:0,available:{}}}]}}",
            posted - debits
        );
        assert_eq!(balances(model), wanted);
    };
    check(
        &mut model,
        &[
            (hold("1", "COIN gift debit", 100, at), "ok"),
            (final_false(&settle("2", "1", 30, at)), "ok"),
            (with(&final_false(&settle("2", "1", 30, at)), r#""state":"posted""#), "duplicate"),
            (settle("2", "1", 30, at), "entry_id_conflict entry_id"),
            (own(&final_false(&settle("2", "1", 30, at))), "entry_id_conflict entry_id"),
            (grow("3", "1", 5), "ok"),
            (void_part("4", "1", 15), "ok"),
        ],
    );
    figures(&model, -30, 60);
    check(
        &mut model,
        &[
            (own(&final_false(&settle("5", "1", 70, at))), "ok"),
            (settle("6", "1", 1, at), "pending_not_found pending_id"),
            (own(&settle("6", "1", 1, at)), "ok"),
            (void_part("7", "1", 0), "pending_not_found pending_id"),
            (own(&void_part("7", "1", 0)), "ok"),
        ],
    );
    figures(&model, -101, 0);
    // A line that names it opens the hold; its own line adds to it and is remembered while it is
    // open. An amount of 0 opens nothing.
    check(
        &mut model,
        &[
            (own(&grow("8", "20", 0)), "ok"),
            (grow("9", "20", 5), "pending_not_found pending_id"),
            (own(&grow("9", "20", 5)), "ok"),
            (hold("20", "USD gift credit", 5, at), "pending_mismatch currency"),
            (hold("20", "COIN gift credit", 5, at), "pending_mismatch direction"),
            (own(&grow("10", "20", 5)).replace("debit", "credit"), "pending_mismatch pending_id"),
            (own(&settle("10", "20", 5, at)).replace("COIN", "USD"), "pending_mismatch pending_id"),
            (own(&void("10", "20", at)).replace("COIN", "USD"), "pending_mismatch pending_id"),
            (hold("20", "COIN gift debit", 0, at), "ok"),
            (hold("20", "COIN gift debit", 0, at + 2 * DAY), "entry_id_conflict entry_id"),
            (posted("11", "COIN gift credit", 0, at + 2 * DAY), "ok"),
            (hold("20", "COIN gift debit", 0, at + 2 * DAY), "entry_id_conflict entry_id"),
        ],
    );
    figures(&model, -101, 5);
    check(
        &mut model,
        &[
            (void("12", "20", at + 2 * DAY), "ok"),
            (hold("20", "COIN gift debit", 0, at + 2 * DAY), "ok"),
            (hold("13", "USD gift debit", 0, at + 2 * DAY), "ok"),
        ],
    );
    assert!(balances(&model).contains("USD,posted:0,"));
    let stats = body(&model, "/v1/users/42/stats?window=lifetime");
    assert!(stats.contains(r#""kind":"own","direction":"debit","count":2,"sum":71"#), "{stats}");
    assert!(stats.contains(r#""kind":"gift","direction":"debit","count":1,"sum":30"#), "{stats}");
}

#[test]
fn a_past_balance_is_that_before_an_edge() {
    let mut model = Model::new();
    let now = t(1000, 12, 7);
    let line = |id: &str, group: &str, amount, at| (posted(id, group, amount, at), "ok");
    check_late(
        &mut model,
        &[
            line("1", "COIN gift credit", 1, now),
            line("2", "COIN gift debit", 20, now - 10 * MINUTE),
            line("3", "COIN gift credit", 300, t(998, 9, 30)),
            line("4", "COIN gift credit", 4_000, t(700, 9, 30)),
            line("5", "COIN gift credit", 50_000, t(599, 9, 30)),
            (hold("6", "USD gift debit", 7, now), "ok"),
        ],
    );
    let past = |at: i64| {
        let body = body(&model, &format!("/v1/users/42/balance?at_ms={at}"));
        let tail = body.split(r#""at_ms":"#).nth(1).expect("an instant").to_owned();
        tail.replace(r#"},{"currency":"USD","posted":0}]}"#, "")
    };
    let is = |instant: i64, posted: i64| {
        format!(r#"{instant},"balances":[{{"currency":"COIN","posted":{posted}"#)
    };
    // After the latest entry, at its bucket, and just before: the next bucket's edge.
    assert_eq!(past(now + DAY), is(now + DAY + 8 * MINUTE, 54_281));
    assert_eq!(past(t(1000, 12, 0)), is(t(1000, 12, 0), 54_280));
    assert_eq!(past(t(1000, 12, 0) + 1), is(t(1000, 12, 15), 54_281));
    assert_eq!(past(t(1000, 11, 45)), is(t(1000, 11, 45), 54_300));
    // Hours, days, and before what is kept.
    assert_eq!(past(t(998, 9, 0)), is(t(998, 9, 0), 54_000));
    assert_eq!(past(t(998, 9, 0) + 1), is(t(998, 10, 0), 54_300));
    assert_eq!(past(t(700, 0, 0)), is(t(700, 0, 0), 50_000));
    assert_eq!(past(t(700, 0, 1)), is(t(701, 0, 0), 54_000));
    assert_eq!(past(0), is(t(600, 0, 0), 50_000));
    let one = body(&model, "/v1/users/42/balance?currency=USD&at_ms=5");
    assert!(one.ends_with(r#""balances":[{"currency":"USD","posted":0}]}"#), "{one}");
    // It may exceed 64 bits: these came in another order than that of their times.
    let max = i64::MAX;
    check_late(
        &mut model,
        &[
            line("7", "BIG gift credit", max, now),
            line("8", "BIG gift debit", max, now),
            line("9", "BIG other credit", max, now - 2 * DAY),
            (posted("10", "BIG other credit", 1, now), "balance_overflow amount"),
            line("11", "BIG other debit", max, now),
            line("12", "BIG more credit", max, now - 2 * DAY),
        ],
    );
    let big = body(&model, &format!("/v1/users/42/balance?currency=BIG&at_ms={}", now - DAY));
    assert!(big.contains(&format!(r#""posted":{}}}"#, 2 * i128::from(max))), "{big}");
}
