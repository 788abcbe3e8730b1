//! Records of dropped frames, out of the ring `EVENTS`.

use std::{fmt, io, path::Path};

use aya::maps::{Map, MapData, MapError, PerCpuArray, RingBuf};
use l2sm_common::{
    event::{DropEvent, EventLimit},
    ids::IfIndex,
    reason::DropReason,
};
use tokio::io::unix::AsyncFd;

use super::{
    DatapathError, Generation,
    bpffs::Pins,
    layout::{EVENT_LIMIT, EVENTS, Layout},
    links::device_name,
};

/// The ring, for its one reader. What nobody reads stays in it until it is full; then new records
/// are lost, never a frame.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    /// Opens the ring that is pinned in `bpffs`, inside a runtime.
    ///
    /// # Errors
    /// It is not there, or not a ring.
    pub fn open(bpffs: &Path) -> Result<Self, DatapathError> {
        let ring = open::<RingBuf<MapData>>(bpffs, EVENTS)?;
        // SAFETY: the ring owns its descriptor and gives out the same one for as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) }.map_err(|why| {
            DatapathError::map("wait for", EVENTS.name, &MapError::IoError(why.into()))
        });
        Ok(Self { ring: ring? })
    }

    /// The next records, oldest first; waits until there are some. Records of another layout are
    /// passed over.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Vec<DropEvent>> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            let ring = ready.get_inner_mut();
            let mut events = Vec::new();
            while let Some(record) = ring.next() {
                events.extend(DropEvent::from_bytes(&record));
            }
            ready.clear_ready();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// The device that a record names; its number where it is gone.
pub fn device_of(event: &DropEvent) -> String {
    device_name(IfIndex(event.ifindex)).unwrap_or_else(|| event.ifindex.to_string())
}

/// How many records were lost because the ring was full.
pub struct LostEvents(PerCpuArray<MapData, EventLimit>);

impl LostEvents {
    /// Opens the map that is pinned in `bpffs`.
    ///
    /// # Errors
    /// It is not there, or of another type.
    pub fn open(bpffs: &Path) -> Result<Self, DatapathError> {
        open(bpffs, EVENT_LIMIT).map(Self)
    }

    /// Of all reasons and CPUs, since the map was made.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn count(&self) -> Result<u64, DatapathError> {
        let mut lost = 0u64;
        for reason in DropReason::ALL {
            let cpus = self.0.get(&reason.number(), 0);
            let cpus =
                cpus.map_err(|error| DatapathError::map("read", EVENT_LIMIT.name, &error))?;
            lost += cpus.iter().map(|limit| u64::from(limit.lost)).sum::<u64>();
        }
        Ok(lost)
    }
}

impl fmt::Debug for LostEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LostEvents").finish_non_exhaustive()
    }
}

fn open<T: TryFrom<Map, Error = MapError>>(
    bpffs: &Path,
    layout: Layout,
) -> Result<T, DatapathError> {
    let pins = Pins::new(bpffs, Generation::current().abi);
    let map = MapData::from_pin(pins.maps().join(layout.name)).and_then(Map::from_map_data);
    map.and_then(T::try_from).map_err(|error| DatapathError::map("open", layout.name, &error))
}
