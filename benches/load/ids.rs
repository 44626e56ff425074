//! The file of user ids that the wrk scripts map: every user of a population, or a subset, once, in
//! shuffled order, all of one width and without separators. It is in the temporary directory, and
//! removed when the value is dropped.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Context, Result};
use crate::population::Population;
use crate::random::{Shuffle, mix};

pub struct Ids {
    path: PathBuf,
    pub count: u64,
    /// Bytes of each id.
    pub width: usize,
}

impl Ids {
    pub fn write(population: &Population) -> Result<Self> {
        Self::write_some(population, |_| true)
    }

    /// Writes only the users whose numbers are `wanted`.
    pub fn write_some(population: &Population, wanted: impl Fn(u64) -> bool) -> Result<Self> {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed); // only has to differ
        let path =
            std::env::temp_dir().join(format!("purser-load-{}-{number}.ids", std::process::id()));
        let mut ids = Self { path, count: 0, width: population.form.width() };
        ids.fill(population, wanted).context("writing the file of user ids")?;
        Ok(ids)
    }

    fn fill(
        &mut self,
        population: &Population,
        wanted: impl Fn(u64) -> bool,
    ) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        let order = Shuffle::new(population.users, mix(population.seed ^ 0x1d5));
        for k in 0..population.users {
            let user = order.at(k);
            if !wanted(population.user_number(user)) {
                continue;
            }
            self.count += 1;
            let id = population.user_id(user);
            assert_eq!(id.as_bytes().len(), self.width, "the scripts need ids of one width");
            file.write_all(id.as_bytes())?;
        }
        file.flush()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Ids {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
