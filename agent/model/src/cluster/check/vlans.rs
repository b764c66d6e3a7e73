//! VLANs of one machine: each on an interface that ends at a card, one of an identifier, frames that fit through.

use std::collections::BTreeMap;

use crate::decode::Located;
use crate::input::{InterfaceInput, NodeInput, VlanInput};
use crate::names::InterfaceName;
use crate::report::Report;

/// What an Ethernet interface carries when nothing else is said.
const DEFAULT_MTU: u32 = 1500;

pub(super) fn check(node: &NodeInput, report: &mut Report) {
    let vlans = || {
        node.interfaces.iter().filter_map(|interface| Some((interface, interface.vlan.as_ref()?)))
    };
    let mut first: BTreeMap<(&InterfaceName, u32), &InterfaceName> = BTreeMap::new();
    for (interface, vlan) in vlans() {
        let (parent, id) = (&vlan.parent.value, vlan.id.0);
        if let Some(other) = first.insert((parent, id), &interface.name.value) {
            let message = format!("`{other}` is already the VLAN {id} of `{parent}`");
            report.error(interface.place, format!("{}.vlan", interface.path), message);
        }
        mtu(node, interface, vlan, report);
    }
    for (index, interface) in node.interfaces.iter().enumerate() {
        // A ring is one mistake: it is told once, at its first interface.
        if ring(node, interface).is_some_and(|ring| ring.iter().all(|other| *other >= index))
            && let Some(vlan) = &interface.vlan
        {
            let message = format!(
                "`{}` stands on `{}`, which stands on `{}` in the end",
                *interface.name, vlan.parent.value, *interface.name
            );
            report.error(vlan.parent.place, &vlan.parent.path, message);
        }
    }
}

/// The indexes of the interfaces between a VLAN and itself, when following the parents leads back to it. An interface
/// on itself is reported where names are looked up.
fn ring(node: &NodeInput, start: &InterfaceInput) -> Option<Vec<usize>> {
    let mut passed = Vec::new();
    let mut parent = &start.vlan.as_ref()?.parent.value;
    while *parent != start.name.value {
        let index = node.interfaces.iter().position(|other| other.name.value == *parent)?;
        if passed.contains(&index) {
            return None;
        }
        passed.push(index);
        parent = &node.interfaces[index].vlan.as_ref()?.parent.value;
    }
    (!passed.is_empty()).then_some(passed)
}

fn mtu(
    node: &NodeInput,
    interface: &Located<InterfaceInput>,
    vlan: &VlanInput,
    report: &mut Report,
) {
    let parent = node.interfaces.iter().find(|other| other.name.value == vlan.parent.value);
    let (Some(own), Some(parent)) = (interface.mtu, parent) else { return };
    // A VLAN without one has its parent's, whatever that turns out to be.
    let most = match (&parent.mtu, &parent.vlan) {
        (Some(mtu), _) => mtu.0,
        (None, None) => DEFAULT_MTU,
        (None, Some(_)) => return,
    };
    if own.0 > most && report.is_whole(&parent.path) {
        let message = format!(
            "frames of {} bytes do not fit through `{}`, which carries {most}",
            own.0, vlan.parent.value
        );
        report
            .error(interface.place, format!("{}.mtu", interface.path), message)
            .hint(format!("give `{}` an `mtu` at least as large", vlan.parent.value));
    }
}
