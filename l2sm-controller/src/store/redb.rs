//! A store in a redb file.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use l2sm_api::objects::Object;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    ReadableTable, StorageError, TableDefinition, TableHandle, WriteTransaction,
};

use super::{Batch, Contents, Meta, SCHEMA, Store, StoreError};

/// Key (`Kind/namespace/name`) to JSON.
const OBJECTS: TableDefinition<'static, &str, &str> = TableDefinition::new("objects");
/// `schema`, `source`, `epoch`, `revision`, `last_vni`: decimal numbers, but for `source`.
const META: TableDefinition<'static, &str, &str> = TableDefinition::new("meta");

/// Objects in a file. One process has it open at a time.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    database: Database,
}

impl RedbStore {
    /// Opens the store in `path`, or makes it with `new_source` as its identity where there is no
    /// file (or an empty one). The epoch rises.
    ///
    /// # Errors
    /// See [`StoreError`]; a file that is not a store, or from a newer version, is left as it is.
    pub fn open(path: &Path, new_source: &str) -> Result<Self, StoreError> {
        let at = At(path);
        let has_content = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if has_content {
            at.inspect()?;
        }
        let database = Database::create(path).map_err(|why| at.open_error(why))?;
        let store = Self { path: path.to_owned(), database };
        store.begin_epoch(new_source)?;
        Ok(store)
    }

    /// Makes the tables where there are none, and counts this start.
    fn begin_epoch(&self, new_source: &str) -> Result<(), StoreError> {
        let at = At(&self.path);
        let transaction = self.begin()?;
        let names: Vec<_> = transaction
            .list_tables()
            .map_err(|why| at.failed("read", why))?
            .map(|table| table.name().to_owned())
            .collect();
        at.check_tables(&names)?;
        {
            let mut meta = transaction.open_table(META).map_err(|why| at.failed("open", why))?;
            drop(transaction.open_table(OBJECTS).map_err(|why| at.failed("open", why))?);
            let mut found = read_meta(&meta).map_err(|why| at.failed("read", why))?;
            at.check_schema(found.schema.as_deref())?;
            if found.meta.source.is_empty() {
                new_source.clone_into(&mut found.meta.source);
            }
            let epoch = (found.meta.epoch + 1).to_string();
            for (key, value) in
                [("schema", SCHEMA.to_string()), ("source", found.meta.source), ("epoch", epoch)]
            {
                meta.insert(key, value.as_str()).map_err(|why| at.failed("write", why))?;
            }
        }
        transaction.commit().map_err(|why| at.failed("write", why))
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let at = At(&self.path);
        let mut transaction = self.database.begin_write().map_err(|why| at.failed("write", why))?;
        transaction.set_durability(Durability::Immediate).map_err(|why| at.failed("write", why))?;
        Ok(transaction)
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Contents, StoreError> {
        let at = At(&self.path);
        let transaction = self.database.begin_read().map_err(|why| at.failed("read", why))?;
        let meta = transaction.open_table(META).map_err(|why| at.failed("read", why))?;
        let meta = read_meta(&meta).map_err(|why| at.failed("read", why))?.meta;
        let table = transaction.open_table(OBJECTS).map_err(|why| at.failed("read", why))?;
        let mut objects = Vec::new();
        for row in table.iter().map_err(|why| at.failed("read", why))? {
            let (key, json) = row.map_err(|why| at.failed("read", why))?;
            objects.push((key.value().to_owned(), json.value().to_owned()));
        }
        Ok(Contents { meta, objects })
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError> {
        let at = At(&self.path);
        let transaction = self.begin()?;
        {
            let mut objects =
                transaction.open_table(OBJECTS).map_err(|why| at.failed("write", why))?;
            for (key, json) in &batch.put {
                objects
                    .insert(key.as_str(), json.as_str())
                    .map_err(|why| at.failed("write", why))?;
            }
            for key in &batch.remove {
                objects.remove(key.as_str()).map_err(|why| at.failed("write", why))?;
            }
            let mut meta = transaction.open_table(META).map_err(|why| at.failed("write", why))?;
            for (key, value) in
                [("revision", batch.revision), ("last_vni", u64::from(batch.last_vni))]
            {
                meta.insert(key, value.to_string().as_str())
                    .map_err(|why| at.failed("write", why))?;
            }
        }
        transaction.commit().map_err(|why| at.failed("write", why))?;
        Ok(Vec::new())
    }
}

/// What the table `meta` says.
struct FoundMeta {
    schema: Option<String>,
    meta: Meta,
}

fn read_meta(
    table: &impl ReadableTable<&'static str, &'static str>,
) -> Result<FoundMeta, StorageError> {
    let text = |key: &str| -> Result<Option<String>, StorageError> {
        Ok(table.get(key)?.map(|value| value.value().to_owned()))
    };
    let number = |key: &str| -> Result<u64, StorageError> {
        match text(key)? {
            None => Ok(0),
            Some(value) => value
                .parse()
                .map_err(|_none| StorageError::Corrupted(format!("{key} is {value:?}"))),
        }
    };
    let last_vni = u32::try_from(number("last_vni")?)
        .map_err(|_large| StorageError::Corrupted("last_vni is no VNI".to_owned()))?;
    Ok(FoundMeta {
        schema: text("schema")?,
        meta: Meta {
            source: text("source")?.unwrap_or_default(),
            epoch: number("epoch")?,
            revision: number("revision")?,
            last_vni,
        },
    })
}

/// A file, and what can be said against it.
#[derive(Clone, Copy)]
struct At<'a>(&'a Path);

impl At<'_> {
    /// Looks into a file without changing it. A store whose process was killed needs repair, which
    /// only opening it for writing does; it is looked at then.
    fn inspect(self) -> Result<(), StoreError> {
        let database = match ReadOnlyDatabase::open(self.0) {
            Ok(database) => database,
            Err(DatabaseError::RepairAborted) => return Ok(()),
            Err(why) => return Err(self.open_error(why)),
        };
        let transaction = database.begin_read().map_err(|why| self.failed("read", why))?;
        let names: Vec<_> = transaction
            .list_tables()
            .map_err(|why| self.failed("read", why))?
            .map(|table| table.name().to_owned())
            .collect();
        self.check_tables(&names)?;
        if names.is_empty() { Ok(()) } else { self.inspect_meta(&transaction) }
    }

    fn inspect_meta(self, transaction: &ReadTransaction) -> Result<(), StoreError> {
        let meta = transaction.open_table(META).map_err(|why| self.failed("read", why))?;
        let found = read_meta(&meta).map_err(|why| self.failed("read", why))?;
        self.check_schema(found.schema.as_deref())
    }

    /// A new file has no table; a store has `meta`.
    fn check_tables(self, names: &[String]) -> Result<(), StoreError> {
        if names.is_empty() || names.iter().any(|name| name == META.name()) {
            return Ok(());
        }
        let why = format!("it is a database with tables {}", names.join(", "));
        Err(StoreError::NotAStore { path: self.0.to_owned(), why })
    }

    fn check_schema(self, found: Option<&str>) -> Result<(), StoreError> {
        match found.map(str::parse::<u64>) {
            None => Ok(()),
            Some(Ok(schema)) if schema <= SCHEMA => Ok(()),
            Some(_) => Err(StoreError::Newer {
                path: self.0.to_owned(),
                found: found.unwrap_or_default().to_owned(),
            }),
        }
    }

    fn open_error(self, why: DatabaseError) -> StoreError {
        let path = self.0.to_owned();
        if matches!(why, DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) {
            return StoreError::InUse { path };
        }
        if let DatabaseError::UpgradeRequired(version) = why {
            let why = format!("it is a redb file of format {version}");
            return StoreError::NotAStore { path, why };
        }
        if let DatabaseError::Storage(StorageError::Corrupted(why)) = why {
            return StoreError::NotAStore { path, why };
        }
        if let DatabaseError::Storage(StorageError::Io(why)) = &why
            && matches!(why.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        {
            let why = why.to_string();
            return StoreError::NotAStore { path, why };
        }
        self.failed("open", why)
    }

    fn failed(self, verb: &'static str, why: impl Into<redb::Error>) -> StoreError {
        let path = self.0.to_owned();
        // An I/O error says itself what redb says around it.
        let why = why.into();
        let why = if let redb::Error::Io(why) = why { why.to_string() } else { why.to_string() };
        StoreError::Failed { verb, path, why }
    }
}

#[cfg(test)]
#[path = "redb_tests.rs"]
mod tests;
