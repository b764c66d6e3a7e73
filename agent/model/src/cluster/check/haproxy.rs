//! The API and haproxy: addresses that exist, names that are unique, certificates that haproxy's nodes have.

mod health;

use std::net::IpAddr;

use super::machines::is_of_all;
use super::{Item, reach, unique};
use crate::cluster::resolve::{API_FRONTEND, interface_towards};
use crate::decode::{Located, closest};
use crate::input::{ClusterInput, FrontendInput, HaproxyInput};
use crate::names::{Cidr, FileName, ItemName};
use crate::node::{HAPROXY_FILES, ProxyMode};
use crate::report::Report;
use crate::rules::RuleError;

/// What the sections are called that every haproxy has besides, for health answers and handshakes.
const OWN_PREFIX: &str = "basalt-";

/// The volume `certificate-NAME` has an RFC 1123 label as its name.
const MAX_CERTIFICATE_NAME: usize = 63 - "certificate-".len();

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    api(input, report);
    let Some(haproxy) = &input.haproxy else { return };
    reach::check(input, haproxy, report);
    files(haproxy, report);
    unique("frontend", haproxy.frontends.iter().map(|frontend| Item::of(&frontend.name)), report);
    for item in &haproxy.frontends {
        frontend(input, haproxy, item, report);
    }
    let needs_api = haproxy.frontends.is_empty() && input.api.virtual_addresses.is_empty();
    if needs_api && report.is_whole("haproxy") && report.is_whole("api") {
        report
            .error(report.place_of("haproxy"), "haproxy", "there is nothing to listen on: no frontend is listed and the API has no virtual address")
            .hint("set `api.virtual_addresses` or list a frontend");
    }
    let has_servers = !input.api.servers.is_empty() || !report.is_whole("api.servers");
    if !input.api.virtual_addresses.is_empty() && !has_servers {
        report.error(
            report.place_of("api.servers"),
            "api.servers",
            "haproxy needs at least one API server to send clients to",
        );
    }
}

fn api(input: &ClusterInput, report: &mut Report) {
    unique("API server", input.api.servers.iter().map(Item::of), report);
    let mut seen = [false, false];
    for address in &input.api.virtual_addresses {
        if std::mem::replace(&mut seen[usize::from(address.is_ipv6())], true) {
            report.error(
                address.place,
                &address.path,
                "the API already has a virtual address of this family",
            );
        }
        virtual_address(input, address, report);
    }
}

/// A virtual address lies in the network of some node, and is nobody's own.
pub(super) fn virtual_address(
    input: &ClusterInput,
    address: &Located<IpAddr>,
    report: &mut Report,
) {
    let interfaces = input.nodes.iter().flat_map(|node| &node.interfaces);
    let mut owners = interfaces
        .flat_map(|interface| &interface.addresses)
        .filter(|own| own.address() == address.value);
    if let Some(owner) = owners.next() {
        let message = format!("`{}` is a machine's own address ({})", address.value, owner.path);
        report
            .error(address.place, &address.path, message)
            .hint("choose an address of the network that nobody has");
        return;
    }
    let interfaces = || input.nodes.iter().flat_map(|node| &node.interfaces);
    if let Some(gateway) =
        interfaces().flat_map(|interface| &interface.gateways).find(|it| it.value == address.value)
    {
        let message = format!("`{}` is the gateway ({})", address.value, gateway.path);
        report
            .error(address.place, &address.path, message)
            .hint("choose an address of the network that nobody has");
        return;
    }
    let own = input.nodes.iter().find_map(|node| interface_towards(node, address.value));
    if own
        .is_some_and(|(_, own)| is_of_all(own, address.value) || is_any_router(own, address.value))
    {
        let message = format!("`{}` stands for the whole network", address.value);
        report
            .error(address.place, &address.path, message)
            .hint("choose an address between the first and the last of the network");
    } else if own.is_none() && report.is_whole("nodes") {
        let message = format!("`{}` is in no network of any node", address.value);
        report
            .error(address.place, &address.path, message)
            .hint("choose an address of a network that the nodes have");
    }
}

/// Whether `address` is the one that every router of an IPv6 network answers to (RFC 4291 section 2.6.1).
fn is_any_router(own: Cidr, address: IpAddr) -> bool {
    let has_others = own.0.max_prefix_len() - own.0.prefix_len() >= 2;
    address.is_ipv6() && has_others && own.0.network() == address
}

fn frontend(
    input: &ClusterInput,
    haproxy: &HaproxyInput,
    frontend: &Located<FrontendInput>,
    report: &mut Report,
) {
    if frontend.name.as_str().starts_with(OWN_PREFIX) {
        let message = format!("names that begin with `{OWN_PREFIX}` are of haproxy's own sections");
        report.error(frontend.name.place, &frontend.name.path, message).hint("choose another name");
    }
    if frontend.binds.is_empty() && report.is_whole(&frontend.path) {
        report.error(
            frontend.place,
            format!("{}.binds", frontend.path),
            "a frontend listens on at least one address",
        );
    }
    if frontend.servers.is_empty() && report.is_whole(&frontend.path) {
        report.error(
            frontend.place,
            format!("{}.servers", frontend.path),
            "a frontend needs at least one server",
        );
    }
    unique("server", frontend.servers.iter().map(|server| Item::of(&server.name)), report);
    if let Some(check) = &frontend.check {
        health::check(input, frontend, check, report);
    }
    if let Some(tls) = &frontend.server_tls {
        trust_anchor(input, &tls.ca, report);
    }
    rules(haproxy, frontend, report);
    if let Some(name) = &frontend.certificate {
        certificate(input, haproxy, name, report);
    }
}

fn rules(haproxy: &HaproxyInput, frontend: &Located<FrontendInput>, report: &mut Report) {
    let files: Vec<&FileName> = haproxy.files.iter().map(|file| &file.name.value).collect();
    for rule in &frontend.rules {
        let is_known = report.is_whole("haproxy.files");
        match crate::rules::check(rule, &files) {
            Ok(()) => {}
            Err(RuleError::File(_)) if !is_known => {}
            Err(error) => {
                report
                    .error(rule.place, &rule.path, format!("the rule {error}"))
                    .hint(error.hint());
                continue;
            }
        }
        // Only requests can be looked into; haproxy would say so on the node.
        let is_http = rule.starts_with("http-");
        if is_http && frontend.mode == ProxyMode::Tcp {
            report
                .error(rule.place, &rule.path, "the frontend carries bytes and sees no requests")
                .hint("write `mode: http`, or a `tcp-request` rule");
        }
        if let Some(name) =
            rule.strip_prefix("use_backend ").and_then(|rest| rest.split(' ').next())
        {
            backend(haproxy, name, rule, report);
        }
    }
    if report.is_whole(&format!("{}.rules", frontend.path)) {
        let texts: Vec<&str> = frontend.rules.iter().map(|rule| rule.as_str()).collect();
        for (index, error) in crate::rules::unknown_acls(&texts) {
            let rule = &frontend.rules[index];
            report.error(rule.place, &rule.path, format!("the rule {error}")).hint(error.hint());
        }
    }
}

/// A backend that a rule names. What haproxy works out for each connection is its own matter.
fn backend(haproxy: &HaproxyInput, name: &str, rule: &Located<String>, report: &mut Report) {
    let names = || {
        let listed = haproxy.frontends.iter().map(|frontend| frontend.name.as_str());
        listed.chain([API_FRONTEND])
    };
    if name.contains('%') || names().any(|known| known == name) || !report.is_whole("haproxy") {
        return;
    }
    let message = format!("there is no backend `{name}`");
    let finding = report.error(rule.place, &rule.path, message);
    match closest(name, names()) {
        Some(known) => finding.hint(format!("did you mean `{known}`?")),
        None => finding.hint("each frontend has a backend of its own name"),
    };
}

fn files(haproxy: &HaproxyInput, report: &mut Report) {
    unique("file", haproxy.files.iter().map(|file| Item::of(&file.name)), report);
    for file in &haproxy.files {
        let rules = || haproxy.frontends.iter().flat_map(|frontend| &frontend.rules);
        let is_read = rules().any(|rule| {
            // A name that haproxy puts together is not looked into.
            rule.contains("%[") || crate::rules::reads(rule, &file.name)
        });
        if !is_read && report.is_whole("haproxy.frontends") {
            report
                .warning(file.place, &file.path, format!("no rule reads `{}`", *file.name))
                .hint(format!("name it `{HAPROXY_FILES}/{}` in a rule", *file.name));
        }
    }
}

/// A trust anchor that servers' certificates are held against.
fn trust_anchor(input: &ClusterInput, name: &Located<ItemName>, report: &mut Report) {
    if input.trust_anchors.contains_key(&name.value) || !report.is_whole("trust_anchors") {
        return;
    }
    let message = format!("there is no trust anchor `{}`", name.value);
    let finding = report.error(name.place, &name.path, message);
    match closest(name.as_str(), input.trust_anchors.keys().map(ItemName::as_str)) {
        Some(known) => finding.hint(format!("did you mean `{known}`?")),
        None => finding.hint("add it under `trust_anchors`"),
    };
}

fn certificate(
    input: &ClusterInput,
    haproxy: &HaproxyInput,
    name: &Located<ItemName>,
    report: &mut Report,
) {
    let certificates = || input.vault.iter().flat_map(|vault| &vault.certificates);
    let Some(certificate) = certificates().find(|certificate| certificate.name.value == name.value)
    else {
        if !report.is_whole("vault.certificates") {
            return;
        }
        let finding = report.error(
            name.place,
            &name.path,
            format!("there is no certificate `{}`", name.value),
        );
        match closest(name.as_str(), certificates().map(|certificate| certificate.name.as_str())) {
            Some(known) => finding.hint(format!("did you mean `{known}`?")),
            None => finding.hint("add it to `vault.certificates`"),
        }
        return;
    };
    if *certificate.owner != "root" {
        let owner = &certificate.owner;
        report
            .error(
                owner.place,
                &owner.path,
                format!("haproxy reads `{}` as root without special rights", name.value),
            )
            .hint("leave `owner` out; a `group` with mode \"0640\" lets others read it");
    }
    if let Some(directory) = &certificate.directory
        && !directory.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    {
        let shown = directory.as_str().escape_debug();
        report
            .error(
                directory.place,
                &directory.path,
                format!("haproxy cannot be told the folder `{shown}`"),
            )
            .hint("use letters, digits, `.`, `_` and `-`");
    }
    if certificate.name.as_str().len() > MAX_CERTIFICATE_NAME {
        let message = format!(
            "haproxy's pod names a volume after the certificate, so at most {MAX_CERTIFICATE_NAME} characters fit"
        );
        report.error(certificate.name.place, &certificate.name.path, message);
    }
    for role in &haproxy.roles {
        let is_fetched = certificate.roles.iter().any(|item| item.value == role.value);
        if !is_fetched && report.is_whole(&certificate.path) {
            let message = format!(
                "nodes of the role `{}` run haproxy and do not fetch the certificate `{}`",
                role.value, name.value
            );
            report
                .error(name.place, &name.path, message)
                .hint(format!("add the role to {}.roles", certificate.path));
        }
    }
}
