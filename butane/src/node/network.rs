//! The network: a NetworkManager keyfile per interface, and a name per network card.
//!
//! Format: <https://networkmanager.dev/docs/api/latest/nm-settings-keyfile.html>,
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.link.html>

use std::fmt::Write;
use std::net::IpAddr;

use basalt_model::names::InterfaceName;
use basalt_model::node::{BondMode, Interface, InterfaceKind, Network};

use super::File;

const KEYFILES: &str = "/etc/NetworkManager/system-connections";

const LINKS: &str = "/etc/systemd/network";

/// NetworkManager ignores keyfiles that others may read.
const KEYFILE_MODE: u32 = 0o600;

pub(super) fn files(network: &Network) -> Vec<File> {
    let mut files: Vec<File> = network.interfaces.iter().filter_map(link).collect();
    files.extend(network.interfaces.iter().map(|interface| keyfile(network, interface)));
    files
}

/// Gives a network card its name. Bonds and VLANs are born with theirs.
fn link(interface: &Interface) -> Option<File> {
    let InterfaceKind::Ethernet { mac } = &interface.kind else { return None };
    // The permanent address: the ports of a bond all show the bond's.
    let text = format!(
        "[Match]\nPermanentMACAddress={mac}\nType=ether\n\n[Link]\nName={}\n",
        interface.name
    );
    // Before 99-default.link and before what the operating system ships with 7x.
    Some(File::public(format!("{LINKS}/10-basalt-{}.link", interface.name), text))
}

fn keyfile(network: &Network, interface: &Interface) -> File {
    let mut text = format!("[connection]\nid={}\n", interface.name);
    let mut device = String::new();
    match &interface.kind {
        InterfaceKind::Ethernet { mac } => {
            // By address alone: a machine whose card could not be renamed still has its network.
            text.push_str("type=ethernet\n");
            let _ = writeln!(device, "mac-address={mac}");
        }
        InterfaceKind::Bond { .. } => {
            let _ = write!(
                text,
                "type=bond\ninterface-name={}\nautoconnect-slaves=1\n",
                interface.name
            );
        }
        InterfaceKind::Vlan { .. } => {
            let _ = write!(text, "type=vlan\ninterface-name={}\n", interface.name);
        }
    }
    let bond = bond_of(network, &interface.name);
    if let Some(bond) = bond {
        // The words that NetworkManager had before 1.46; later ones read them too.
        let _ = write!(text, "master={bond}\nslave-type=bond\n");
    }
    if let Some(mtu) = interface.mtu {
        let _ = writeln!(device, "mtu={mtu}");
    }
    if !device.is_empty() {
        let _ = write!(text, "\n[ethernet]\n{device}");
    }
    match &interface.kind {
        InterfaceKind::Ethernet { .. } => {}
        InterfaceKind::Bond { mode, miimon_milliseconds, .. } => {
            let _ =
                write!(text, "\n[bond]\nmode={}\nmiimon={miimon_milliseconds}\n", mode_name(*mode));
        }
        InterfaceKind::Vlan { id, parent } => {
            let _ = write!(text, "\n[vlan]\nid={id}\nparent={parent}\n");
        }
    }
    if bond.is_none() {
        text.push_str(&addresses(network, interface, "ipv4", IpAddr::is_ipv4));
        text.push_str(&addresses(network, interface, "ipv6", IpAddr::is_ipv6));
    }
    File {
        path: format!("{KEYFILES}/{}.nmconnection", interface.name),
        mode: KEYFILE_MODE,
        contents: text,
    }
}

fn mode_name(mode: BondMode) -> &'static str {
    match mode {
        BondMode::ActiveBackup => "active-backup",
        BondMode::Ieee8023ad => "802.3ad",
        BondMode::BalanceXor => "balance-xor",
    }
}

/// The bond that `interface` is a port of.
fn bond_of<'n>(network: &'n Network, interface: &InterfaceName) -> Option<&'n InterfaceName> {
    let is_bond = |candidate: &&Interface| match &candidate.kind {
        InterfaceKind::Bond { ports, .. } => ports.contains(interface),
        InterfaceKind::Ethernet { .. } | InterfaceKind::Vlan { .. } => false,
    };
    network.interfaces.iter().find(is_bond).map(|bond| &bond.name)
}

/// One address family. Without an address the family is off: nothing is asked of DHCP or routers.
fn addresses(
    network: &Network,
    interface: &Interface,
    section: &str,
    is_family: fn(&IpAddr) -> bool,
) -> String {
    let own: Vec<_> = interface.addresses.iter().filter(|own| is_family(&own.address())).collect();
    let mut text = format!("\n[{section}]\n");
    if own.is_empty() {
        text.push_str("method=disabled\n");
        return text;
    }
    text.push_str("method=manual\n");
    for (index, address) in own.iter().enumerate() {
        let _ = writeln!(text, "address{}={address}", index + 1);
    }
    for gateway in interface.gateways.iter().filter(|gateway| is_family(gateway)) {
        let _ = writeln!(text, "gateway={gateway}");
    }
    if resolver(network, is_family) == Some(&interface.name) {
        let servers: Vec<String> = network
            .dns_servers
            .iter()
            .filter(|server| is_family(server))
            .map(|server| format!("{server};"))
            .collect();
        if !servers.is_empty() {
            let _ = writeln!(text, "dns={}", servers.concat());
        }
        let domains: Vec<String> =
            network.search_domains.iter().map(|domain| format!("{domain};")).collect();
        if !domains.is_empty() {
            let _ = writeln!(text, "dns-search={}", domains.concat());
        }
    }
    text
}

/// The interface that name servers of a family are asked through: the one with the default route, else the first with
/// an address.
fn resolver(network: &Network, is_family: fn(&IpAddr) -> bool) -> Option<&InterfaceName> {
    let has_address =
        |interface: &&Interface| interface.addresses.iter().any(|own| is_family(&own.address()));
    let has_route = |interface: &&Interface| interface.gateways.iter().any(is_family);
    let interfaces = || network.interfaces.iter().filter(has_address);
    interfaces().find(has_route).or_else(|| interfaces().next()).map(|interface| &interface.name)
}
