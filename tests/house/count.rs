//! Figures of the tree: sizes of functions and files, comments, assertions, and their limits.
//!
//! `cargo test --test purser -- house::count --nocapture` prints the table. Tests inside `src`
//! count as tests. A function's lines run from its signature to its closing brace. Code inside a
//! macro call is not counted, but the call of an assertion is. `PURSER_DRAW=<seed>` draws fifteen
//! files for a reader new to the code.

use super::lines::{COLUMNS, too_long};
use super::sources::files;
use crate::seeds;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Item, Meta, Signature};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A row of the table and its limits: a function is read on one screen, a file in one sitting. The
/// limits are a little above the present figures. A commit that raises one says why.
struct Limit {
    name: &'static str,
    directories: &'static [&'static str],
    function_lines: usize,
    file_lines: usize,
}

const LIMITS: [Limit; 3] = [
    Limit { name: "src", directories: &["src"], function_lines: 80, file_lines: 700 },
    // A test may have many steps in order.
    Limit { name: "tests", directories: &["tests"], function_lines: 140, file_lines: 850 },
    // A suite of the load runner is one function: it sets up, measures and reports.
    Limit {
        name: "benches, examples",
        directories: &["benches", "examples"],
        function_lines: 110,
        file_lines: 550,
    },
];

/// The row of the tests.
const TESTS: usize = 1;

/// Lines above an unsafe block that are searched for its `SAFETY:`.
const NOTE_LINES: usize = 6;

/// Lines of a function or file, and where it is.
type Size = (usize, String);

#[derive(Default)]
struct Row {
    functions: Vec<Size>,
    files: Vec<Size>,
    /// Lines, and those of them that are neither blank nor a comment.
    lines: usize,
    code: usize,
    comments: usize,
    asserts: usize,
    unsafes: usize,
    /// Places of unsafe blocks without a note.
    unnoted: Vec<String>,
    too_long: usize,
}

/// Adds a file's figures to the row at `at`, and those of tests inside it to the row of the tests.
struct Counter<'a> {
    rows: &'a mut [Row; 3],
    at: usize,
    file: &'a str,
    lines: Vec<&'a str>,
    /// Lines of tests inside code.
    tests: Vec<RangeInclusive<usize>>,
}

fn count(rows: &mut [Row; 3], at: usize, file: &str, text: &str) {
    let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut counter = Counter { rows, at, file, lines: text.lines().collect(), tests: Vec::new() };
    counter.visit_file(&tree);
    let Counter { rows, lines, tests, .. } = counter;
    let row_of = |line| if tests.iter().any(|test| test.contains(&line)) { TESTS } else { at };
    let mut in_file = 0;
    for (number, line) in (1..).zip(&lines) {
        let row = &mut rows[row_of(number)];
        in_file += usize::from(row_of(number) == at);
        row.lines += 1;
        row.comments += usize::from(line.trim_start().starts_with("//"));
        row.code += usize::from(!line.trim_start().starts_with("//") && !line.trim().is_empty());
    }
    rows[at].files.push((in_file, file.to_owned()));
    too_long(text).for_each(|line| rows[row_of(line)].too_long += 1);
}

impl Counter<'_> {
    fn row(&mut self) -> &mut Row {
        &mut self.rows[self.at]
    }

    fn add_function(&mut self, signature: &Signature, block: &Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let place = format!("{}:{first} {}", self.file, signature.ident);
        self.row().functions.push((last - first + 1, place));
    }

    fn add_unsafe(&mut self, line: usize) {
        let before = &self.lines[line.saturating_sub(NOTE_LINES + 1)..line];
        let is_noted = before.iter().any(|line| line.contains("SAFETY:"));
        let place = format!("{}:{line}", self.file);
        self.row().unsafes += 1;
        self.row().unnoted.extend((!is_noted).then_some(place));
    }
}

impl<'ast> Visit<'ast> for Counter<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let outside = self.at;
        if is_test(item) && outside != TESTS {
            self.at = TESTS;
            self.tests.push(item.span().start().line..=item.span().end().line);
        }
        visit::visit_item(self, item);
        self.at = outside;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add_function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.add_unsafe(word.span().start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.add_unsafe(block.span().start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let is_assert = name.trim_start_matches("debug_").starts_with("assert");
        self.row().asserts += usize::from(is_assert);
    }
}

/// Whether an item is a test or compiled only for tests.
fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

/// The size that `hundredths` of all are not above.
fn quantile(sizes: &[Size], hundredths: usize) -> &Size {
    &sizes[(sizes.len() - 1) * hundredths / 100]
}

/// The table's rows.
fn rows() -> [Row; 3] {
    let mut rows = [(); 3].map(|()| Row::default());
    for (at, limit) in LIMITS.iter().enumerate() {
        for (file, text) in limit.directories.iter().flat_map(|directory| files(directory)) {
            count(&mut rows, at, &file, &text);
        }
    }
    for row in &mut rows {
        row.functions.sort();
        row.files.sort();
    }
    rows
}

fn line_of_table(name: &str, row: &Row, tests: Option<&Row>) -> String {
    let sizes = |sizes: &[Size]| [50, 90, 100].map(|n| quantile(sizes, n).0.to_string()).join("/");
    format!(
        "| {name} | {} | {} | {} | {} | {:.0} % | {:.2} | {}/{} | {} | {:.1} % |",
        row.functions.len(),
        sizes(&row.functions),
        row.files.len(),
        sizes(&row.files),
        100.0 * row.comments as f64 / (row.code + row.comments) as f64,
        row.asserts as f64 / row.functions.len() as f64,
        row.unsafes - row.unnoted.len(),
        row.unsafes,
        tests.map_or("–".to_owned(), |tests| format!(
            "{:.2}",
            tests.code as f64 / row.code as f64
        )),
        100.0 * row.too_long as f64 / row.lines as f64,
    )
}

#[test]
fn figures_of_the_tree_are_within_their_limits() {
    let rows = rows();
    println!(
        "| | functions | function p50/p90/max | files | file p50/p90/max | comment share \
         | asserts a function | unsafe noted | tests/code | lines > {COLUMNS} columns |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for (at, (row, limit)) in rows.iter().zip(&LIMITS).enumerate() {
        let tests = (at == 0).then_some(&rows[TESTS]);
        println!("{}", line_of_table(limit.name, row, tests));
    }
    for (row, Limit { name, function_lines, file_lines, .. }) in rows.iter().zip(&LIMITS) {
        let ((function, place), (file, path)) =
            (quantile(&row.functions, 100), quantile(&row.files, 100));
        println!("{name}: the longest function is {place}, the largest file {path}");
        assert!(function <= function_lines, "{place} has {function} lines: split it");
        assert!(file <= file_lines, "{path} has {file} lines: split it");
        assert!(row.unnoted.is_empty(), "unsafe without `// SAFETY:`: {:?}", row.unnoted);
        assert_eq!(row.too_long, 0, "{name} has lines of more than {COLUMNS} columns");
    }
}

#[test]
fn planted_code_is_counted() {
    let code = [
        "//! A file.",
        "",
        "fn f() {",
        "    assert!(true);",
        "    unsafe { g() }",
        "}",
        "",
        "trait T {",
        "    fn h();",
        "    fn i() {}",
        "}",
        "// SAFETY: none.",
        "unsafe impl T for () {}",
        "#[cfg(test)]",
        "mod tests {",
        "    #[test]",
        "    fn j() {",
        "        debug_assert_eq!(1, 1);",
        "    }",
        "}",
    ];
    let mut rows = [(); 3].map(|()| Row::default());
    count(&mut rows, 0, "a.rs", &code.join("\n"));
    let sizes = |sizes: &[Size]| sizes.iter().map(|(size, _)| *size).collect::<Vec<_>>();
    let [code, tests, _] = &rows;
    assert_eq!((sizes(&code.functions), sizes(&code.files)), (vec![4, 1], vec![13]));
    assert_eq!((code.lines, code.comments, code.code, code.asserts), (13, 2, 9, 1));
    assert_eq!((code.unsafes, &*code.unnoted), (2, &["a.rs:5".to_owned()][..]));
    assert_eq!((sizes(&tests.functions), sizes(&tests.files)), (vec![3], vec![]));
    assert_eq!((tests.lines, tests.comments, tests.code, tests.asserts), (7, 0, 7, 1));
    assert_eq!(quantile(&[1, 2, 3, 4].map(|n| (n, String::new())), 50).0, 2);
}

/// Files of `src`, `tests` and `benches`, the same for the same seed.
fn draw(seed: u64) -> BTreeSet<String> {
    let files = ["src", "tests", "benches"].into_iter().flat_map(files);
    let mut files: Vec<_> = files.map(|(file, _)| file).collect();
    files.sort_by_key(|file| xxh3_64_with_seed(file.as_bytes(), seed));
    files.into_iter().take(15).collect()
}

/// `PURSER_DRAW=<seed>` prints the files, for a reader new to the code.
#[test]
fn a_seed_draws_fifteen_files() {
    if let Some(seed) = seeds::number("PURSER_DRAW") {
        draw(seed).iter().for_each(|file| println!("{file}"));
    }
    assert_eq!(draw(1).len(), 15);
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
