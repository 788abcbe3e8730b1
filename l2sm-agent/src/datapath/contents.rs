//! What a set of maps holds, as an image, and changes to it.

use l2sm_common::maps::{ConfigEntry, PortEntry, SegmentEntry};
use l2sm_core::{
    diff::{Change, diff},
    image::{Image, keep_forwarder},
};

use super::{DatapathError, maps::Maps};

impl Maps {
    /// What the maps hold; an image without hooks.
    pub(super) fn read(&self) -> Result<Image, DatapathError> {
        Ok(Image {
            config: self.config.read()?,
            uplinks: self.uplinks.read()?,
            locals: self.locals.read()?,
            vteps: self.vteps.read()?,
            sources: self.sources.read()?,
            flood: self.flood.read()?,
            segments: self.segments.read()?,
            members: self.members.read()?,
            fdb: self.fdb.read()?,
            neigh: self.neigh.read()?,
            ports: self.ports.read()?,
            ..Image::default()
        })
    }

    /// Makes one change; none where it is about a hook.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        match change {
            Change::PutConfig(entry) => self.config.put(Some(*entry)),
            Change::ClearConfig => self.config.put(None),
            Change::PutUplink(key, value) => self.uplinks.put(key, value),
            Change::DeleteUplink(key) => self.uplinks.delete(key),
            Change::PutLocal(key, value) => self.locals.put(key, value),
            Change::DeleteLocal(key) => self.locals.delete(key),
            Change::PutVtep(key, value) => self.vteps.put(key, value),
            Change::DeleteVtep(key) => self.vteps.delete(key),
            Change::PutSource(key, value) => self.sources.put(key, value),
            Change::DeleteSource(key) => self.sources.delete(key),
            Change::PutFlood(key, value) => self.flood.put(key, value),
            Change::DeleteFlood(key) => self.flood.delete(key),
            Change::PutSegment(key, value) => self.put_segment(*key, *value),
            Change::DeleteSegment(key) => self.segments.delete(key),
            Change::PutMember(key, value) => self.members.put(key, value),
            Change::DeleteMember(key) => self.members.delete(key),
            Change::PutFdb(key, value) => self.fdb.put(key, value),
            Change::DeleteFdb(key) => self.fdb.delete(key),
            Change::PutNeigh(key, value) => self.neigh.put(key, value),
            Change::DeleteNeigh(key) => self.neigh.delete(key),
            Change::PutPort(key, value) => self.put_port(*key, *value),
            Change::DeletePort(key) => self.ports.delete(key),
            Change::Attach(_) | Change::Detach(_) => Ok(()),
        }
    }

    /// Makes these maps, of `abi`, hold what others hold.
    pub(super) fn copy_from(&mut self, others: &Self, abi: u32) -> Result<(), DatapathError> {
        for change in diff(&as_of(abi, others.read()?), &self.read()?) {
            self.apply(&change)?;
        }
        Ok(())
    }

    /// Writes a segment. A slot that it did not have before starts from zero: what another network
    /// counted there is not its own.
    fn put_segment(&mut self, vni: u32, segment: SegmentEntry) -> Result<(), DatapathError> {
        let before = self.segments.get(&vni)?;
        if segment.slot != 0 && before.is_none_or(|before| before.slot != segment.slot) {
            self.counters.reset(segment.slot)?;
        }
        self.segments.put(&vni, &segment)
    }

    /// Writes a port, without taking back what the programs have seen of it.
    fn put_port(&mut self, device: u32, port: PortEntry) -> Result<(), DatapathError> {
        let before = self.ports.get(&device)?;
        let port = before.map_or(port, |before| keep_forwarder(port, &before));
        self.ports.put(&device, &port)
    }
}

/// An image as maps of `abi` hold it.
fn as_of(abi: u32, image: Image) -> Image {
    let config = image.config.map(|config| ConfigEntry { abi, ..config });
    Image { config, ..image }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_taken_over_say_the_layout_that_they_are_in_now() {
        let config =
            ConfigEntry { abi: 1, port: 7000, mark: 2, vxlan_ifindex: 3, flags: 0, local: [4; 16] };
        let old = Image { config: Some(config), ..Image::default() };
        assert_eq!(as_of(2, old).config, Some(ConfigEntry { abi: 2, ..config }));
        assert_eq!(as_of(2, Image::default()), Image::default());
    }
}
