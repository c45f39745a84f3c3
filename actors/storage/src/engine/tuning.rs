//! How RocksDB is set up: small buffers, one shared cache, checksums everywhere.
//!
//! A node at rest aims at less than 40 MB of memory, so nothing is allocated ahead: write buffers grow in small
//! blocks, and one cache and one write-buffer limit serve all families.

use meshwork_proto::store::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options,
};

const MIB: usize = 1024 * 1024;
/// Records at least this large live in blob files, which compactions do not rewrite.
const BLOB_FROM: u64 = 16 * 1024;

/// What of the setup is configurable.
pub(crate) struct Tuning {
    cache: Cache,
    max_total_wal_bytes: u64,
    database: Options,
}

impl Tuning {
    pub(crate) fn new(block_cache_bytes: usize, max_total_wal_bytes: u64) -> Self {
        let cache = Cache::new_lru_cache(block_cache_bytes);
        let mut tuning = Self { cache, max_total_wal_bytes, database: Options::default() };
        tuning.database = tuning.database_options();
        tuning
    }

    /// Options of the database as a whole.
    pub(crate) fn database(&self) -> &Options {
        &self.database
    }

    /// Options of the database with another way to read the log after a crash.
    pub(crate) fn recovering(&self, mode: DBRecoveryMode) -> Options {
        let mut options = self.database.clone();
        options.set_wal_recovery_mode(mode);
        options
    }

    fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        options.set_paranoid_checks(true);
        options.set_max_open_files(256);
        options.set_max_total_wal_size(self.max_total_wal_bytes);
        options.set_db_write_buffer_size(32 * MIB);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(MIB as u64);
        // Its own log is for maintainers: short, and no statistics thread that wakes an idle node.
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(MIB);
        options.set_keep_log_file_num(3);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        // Only the database itself can say whether a log was really synced: the power-loss tests ask it.
        #[cfg(test)]
        options.enable_statistics();
        options
    }

    /// Descriptors for a new database.
    pub(crate) fn all_families(&self) -> Vec<ColumnFamilyDescriptor> {
        Family::ALL
            .iter()
            .map(|family| family.name())
            .chain(["default"])
            .map(|name| self.named(name))
            .collect()
    }

    /// Descriptors for a database that has these families: it may have fewer than we know, or more.
    pub(crate) fn families(&self, names: &[String]) -> Vec<ColumnFamilyDescriptor> {
        names.iter().map(|name| self.named(name)).collect()
    }

    fn named(&self, name: &str) -> ColumnFamilyDescriptor {
        let ours = Family::ALL.iter().find(|family| family.name() == name);
        ColumnFamilyDescriptor::new(
            name,
            ours.map_or_else(|| self.family_options(), |ours| self.options_of(*ours)),
        )
    }

    /// Options of one family.
    pub(crate) fn options_of(&self, family: Family) -> Options {
        let mut options = self.family_options();
        match family {
            // Read by key and large: the busiest families get the larger buffer.
            Family::Tasks | Family::Results => options.set_write_buffer_size(8 * MIB),
            Family::Artifacts => {
                options.set_write_buffer_size(8 * MIB);
                options.set_enable_blob_files(true);
                options.set_min_blob_size(BLOB_FROM);
                options.set_blob_file_size(64 * MIB as u64);
                options.set_blob_compression_type(DBCompressionType::None);
                options.set_enable_blob_gc(true);
            }
            Family::Ready
            | Family::Leases
            | Family::Delayed
            | Family::Idempotency
            | Family::Workflows
            | Family::Schedules
            | Family::Peers
            | Family::Sessions
            | Family::Events
            | Family::Meta => {}
        }
        options
    }

    fn family_options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Filters and indexes are charged to the cache, so the cache's size bounds them too.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        table.set_format_version(5);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(4 * MIB);
        // The default (an eighth of the buffer) would cost half a megabyte per family with a single record.
        options.set_arena_block_size(64 * 1024);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}
