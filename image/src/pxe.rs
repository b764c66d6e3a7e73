//! Renders the iPXE scripts by which machines boot from the network: takes machines and places, gives texts, touches
//! nothing.
//!
//! `boot.ipxe` is what the DHCP server hands out. It goes on to `mac/<address>.ipxe`, one for each address of each
//! machine, which boots Fedora CoreOS live and either installs to a disk or runs from memory.
//!
//! Kernel arguments: <https://docs.fedoraproject.org/en-US/fedora-coreos/live-reference/> and
//! <https://coreos.github.io/coreos-installer/getting-started/>. Scripts: <https://ipxe.org/scripting>.

use std::collections::BTreeMap;
use std::fmt;

/// What the scripts are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pxe {
    /// The URL under which this folder and what the scripts name are served, without a final `/`. Without one, iPXE
    /// asks the server that DHCP named, `http://${next-server}`. An iPXE that has the setting `base` uses that.
    pub base: Option<String>,
    /// The live system.
    pub live: Live,
    /// The machines, in any order.
    pub machines: Vec<Machine>,
}

/// Where the three parts of the Fedora CoreOS live system are: absolute URLs, or paths below the base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// `fedora-coreos-…-live-kernel.…`
    pub kernel: String,
    /// `fedora-coreos-…-live-initramfs.….img`
    pub initramfs: String,
    /// `fedora-coreos-…-live-rootfs.….img`; the initramfs fetches it.
    pub rootfs: String,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name, shown on its console.
    pub name: String,
    /// The Ethernet addresses it may boot from, with colons or hyphens.
    pub macs: Vec<String>,
    /// The disk to install to; without one the machine runs from memory.
    pub install_disk: Option<String>,
    /// Further arguments for the live kernel.
    pub kernel_args: Vec<String>,
    /// Its Ignition config: an absolute URL, or a path below the base URL.
    pub ignition: String,
}

/// A value that a script cannot hold, or that contradicts another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: `{}` {problem}", value.escape_debug())]
pub struct PxeFinding {
    /// Whose value, as `machine n1: MAC address`.
    pub place: String,
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// All that is wrong; prints as one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PxeError(pub Vec<PxeFinding>);

impl fmt::Display for PxeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(PxeFinding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Renders all scripts, by their path in the folder that is served.
///
/// # Errors
/// Every value that does not fit, at once.
pub fn render(pxe: &Pxe) -> Result<BTreeMap<String, String>, PxeError> {
    let mut findings = check(pxe);
    let base = format!(
        "isset ${{base}} || set base {}\n",
        pxe.base.as_deref().unwrap_or("http://${next-server}")
    );
    let mut scripts = BTreeMap::from([("boot.ipxe".to_owned(), boot_script(&base))]);
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for machine in &pxe.machines {
        let script = machine_script(&base, &pxe.live, machine);
        for mac in &machine.macs {
            let Some(file) = hyphenated(mac) else { continue };
            if let Some(owner) = owners.insert(file.clone(), &machine.name) {
                let problem = format!("is an address of `{owner}` too");
                findings.push(finding(&machine.name, "MAC address", mac, &problem));
            }
            scripts.insert(format!("mac/{file}.ipxe"), script.clone());
        }
    }
    if findings.is_empty() { Ok(scripts) } else { Err(PxeError(findings)) }
}

/// The script that is the same for all machines. `${mac}` is the address of the interface that iPXE booted from.
fn boot_script(base: &str) -> String {
    format!(
        "#!ipxe
# Goes on to the script of the machine that has this MAC address.
{base}chain --autofree --replace ${{base}}/mac/${{mac:hexhyp}}.ipxe || goto unknown

:unknown
echo
echo No script for the MAC address ${{mac}} at ${{base}}/mac/${{mac:hexhyp}}.ipxe
echo Add the address to this machine in the cluster's configuration, and build again.
{FALLBACK}"
    )
}

/// The script of one machine. It names the initramfs `main` and tells the kernel so, which UEFI systems need.
fn machine_script(base: &str, live: &Live, machine: &Machine) -> String {
    let ignition = url(&machine.ignition);
    let mut arguments = vec![
        "initrd=main".to_owned(),
        format!("coreos.live.rootfs_url={}", url(&live.rootfs)),
        "ignition.firstboot".to_owned(),
        "ignition.platform.id=metal".to_owned(),
    ];
    let does = match &machine.install_disk {
        Some(disk) => {
            arguments.push(format!("coreos.inst.install_dev={disk}"));
            arguments.push(format!("coreos.inst.ignition_url={ignition}"));
            format!("installs to {disk}")
        }
        None => {
            arguments.push(format!("ignition.config.url={ignition}"));
            "runs from memory".to_owned()
        }
    };
    arguments.extend(machine.kernel_args.iter().cloned());
    format!(
        "#!ipxe
# {name}: {does}
{base}echo {name}: {does}
# A BIOS kernel is given every image in memory as initramfs, so those of an earlier try have to go.
imgfree
kernel {kernel} {arguments} || goto failed
initrd --name main {initramfs} || goto failed
boot || goto failed

:failed
echo
echo {name} cannot boot from ${{base}}
{FALLBACK}",
        name = machine.name,
        kernel = url(&live.kernel),
        initramfs = url(&live.initramfs),
        arguments = arguments.join(" "),
    )
}

/// What a script ends with when it cannot go on: time to read, a shell for who asks, else the next boot device. An
/// iPXE that is built without `prompt` goes on at once.
const FALLBACK: &str =
    "prompt --key s --timeout 30000 Press s for a shell, or wait 30 s for the next boot device && shell ||
exit 1
";

/// An absolute URL as it is; a path below the base.
fn url(place: &str) -> String {
    if is_url(place) { place.to_owned() } else { format!("${{base}}/{place}") }
}

/// The schemes that iPXE and the initramfs both can fetch.
fn is_url(text: &str) -> bool {
    ["http://", "https://", "tftp://"].into_iter().any(|scheme| text.starts_with(scheme))
}

/// An Ethernet address as `${mac:hexhyp}` prints it, lower case with hyphens.
fn hyphenated(mac: &str) -> Option<String> {
    let parts: Vec<&str> = mac.split(['-', ':']).collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.len() == 6 && parts.iter().all(is_byte)).then(|| parts.join("-").to_ascii_lowercase())
}

fn finding(machine: &str, what: &str, value: &str, problem: &str) -> PxeFinding {
    let place = match machine {
        "" => what.to_owned(),
        name => format!("machine `{}`: {what}", name.escape_debug()),
    };
    PxeFinding { place, value: value.to_owned(), problem: problem.to_owned() }
}

fn check(pxe: &Pxe) -> Vec<PxeFinding> {
    let mut findings = Vec::new();
    let mut check = |machine: &str, what: &str, value: &str, problem: Option<&str>| {
        findings.extend(problem.map(|problem| finding(machine, what, value, problem)));
    };
    if let Some(base) = &pxe.base {
        let problem = word_problem(base)
            .or((!is_url(base)).then_some("is not an http, https or tftp URL"))
            .or(base.ends_with('/').then_some("ends with a `/`; leave it out"));
        check("", "base URL", base, problem);
    }
    let live = &pxe.live;
    for (what, place) in
        [("kernel", &live.kernel), ("initramfs", &live.initramfs), ("rootfs", &live.rootfs)]
    {
        check("", what, place, place_problem(place));
    }
    for machine in &pxe.machines {
        let name = machine.name.as_str();
        check("", "machine name", name, word_problem(name));
        if machine.macs.is_empty() {
            check(name, "MAC addresses", "", Some("is empty; it could not be told from others"));
        }
        for mac in &machine.macs {
            let is_bad = hyphenated(mac).is_none();
            let problem = is_bad.then_some("is not an Ethernet address as 52:54:00:12:34:56");
            check(name, "MAC address", mac, problem);
        }
        if let Some(disk) = &machine.install_disk {
            let problem = word_problem(disk)
                .or((!disk.starts_with("/dev/")).then_some("is not a device below /dev"));
            check(name, "install disk", disk, problem);
        }
        for argument in &machine.kernel_args {
            check(name, "kernel argument", argument, word_problem(argument));
        }
        let problem = place_problem(&machine.ignition).or_else(|| {
            // coreos-installer fetches with an HTTP client only.
            let fetched_from = match &pxe.base {
                Some(base) if !is_url(&machine.ignition) => base,
                _ => &machine.ignition,
            };
            (machine.install_disk.is_some() && fetched_from.starts_with("tftp://")).then_some(
                "would come by TFTP, which coreos-installer cannot fetch; serve it by HTTP",
            )
        });
        check(name, "Ignition config", &machine.ignition, problem);
    }
    findings
}

/// Why `text` cannot be one word of a script. iPXE splits lines at white space, knows no quotes, and expands `${…}`.
fn word_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("holds white space or a control character, which would split it in the script")
    } else if matches!(text, "&&" | "||" | ";") {
        Some("is an operator of iPXE scripts")
    } else if text.contains("${") {
        Some("holds `${`, which iPXE would expand")
    } else {
        None
    }
}

/// Why `text` cannot be an absolute URL or a path below the base.
fn place_problem(text: &str) -> Option<&'static str> {
    let is_plain = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    word_problem(text).or(match is_url(text) {
        true => None,
        false if text.contains("://") => Some("is not an http, https or tftp URL"),
        false if !is_plain(text) => Some("is not a plain path below the base URL"),
        false => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn machine(name: &str, mac: &str) -> Machine {
        Machine {
            name: name.into(),
            macs: vec![mac.into()],
            install_disk: None,
            kernel_args: vec![],
            ignition: format!("ignition/{name}.ign"),
        }
    }

    fn pxe(machines: Vec<Machine>) -> Pxe {
        let live = Live {
            kernel: "live/kernel".into(),
            initramfs: "live/initramfs.img".into(),
            rootfs: "https://mirror.lab.example/rootfs.img".into(),
        };
        Pxe { base: None, live, machines }
    }

    #[test]
    fn boot_script() {
        let scripts = render(&pxe(vec![])).unwrap();
        assert_eq!(scripts.len(), 1);
        expect![[r#"
            #!ipxe
            # Goes on to the script of the machine that has this MAC address.
            isset ${base} || set base http://${next-server}
            chain --autofree --replace ${base}/mac/${mac:hexhyp}.ipxe || goto unknown

            :unknown
            echo
            echo No script for the MAC address ${mac} at ${base}/mac/${mac:hexhyp}.ipxe
            echo Add the address to this machine in the cluster's configuration, and build again.
            prompt --key s --timeout 30000 Press s for a shell, or wait 30 s for the next boot device && shell ||
            exit 1
        "#]].assert_eq(&scripts["boot.ipxe"]);
    }

    #[test]
    fn a_machine_that_runs_from_memory() {
        let mut spec = pxe(vec![machine("n1", "52:54:00:AA:bb:01")]);
        spec.base = Some("http://192.0.2.1:8080/lab".into());
        expect![[r#"
            #!ipxe
            # n1: runs from memory
            isset ${base} || set base http://192.0.2.1:8080/lab
            echo n1: runs from memory
            # A BIOS kernel is given every image in memory as initramfs, so those of an earlier try have to go.
            imgfree
            kernel ${base}/live/kernel initrd=main coreos.live.rootfs_url=https://mirror.lab.example/rootfs.img ignition.firstboot ignition.platform.id=metal ignition.config.url=${base}/ignition/n1.ign || goto failed
            initrd --name main ${base}/live/initramfs.img || goto failed
            boot || goto failed

            :failed
            echo
            echo n1 cannot boot from ${base}
            prompt --key s --timeout 30000 Press s for a shell, or wait 30 s for the next boot device && shell ||
            exit 1
        "#]].assert_eq(&render(&spec).unwrap()["mac/52-54-00-aa-bb-01.ipxe"]);
    }

    #[test]
    fn a_machine_that_is_installed() {
        let mut spec = pxe(vec![machine("n1", "52:54:00:aa:bb:01")]);
        spec.machines[0].install_disk = Some("/dev/disk/by-id/nvme-1".into());
        spec.machines[0].kernel_args = vec!["console=ttyS0,115200n8".into(), "quiet".into()];
        spec.machines[0].macs.push("52-54-00-aa-bb-02".into());
        let scripts = render(&spec).unwrap();
        assert_eq!(scripts["mac/52-54-00-aa-bb-01.ipxe"], scripts["mac/52-54-00-aa-bb-02.ipxe"]);
        expect![[r#"
            #!ipxe
            # n1: installs to /dev/disk/by-id/nvme-1
            isset ${base} || set base http://${next-server}
            echo n1: installs to /dev/disk/by-id/nvme-1
            # A BIOS kernel is given every image in memory as initramfs, so those of an earlier try have to go.
            imgfree
            kernel ${base}/live/kernel initrd=main coreos.live.rootfs_url=https://mirror.lab.example/rootfs.img ignition.firstboot ignition.platform.id=metal coreos.inst.install_dev=/dev/disk/by-id/nvme-1 coreos.inst.ignition_url=${base}/ignition/n1.ign console=ttyS0,115200n8 quiet || goto failed
            initrd --name main ${base}/live/initramfs.img || goto failed
            boot || goto failed

            :failed
            echo
            echo n1 cannot boot from ${base}
            prompt --key s --timeout 30000 Press s for a shell, or wait 30 s for the next boot device && shell ||
            exit 1
        "#]].assert_eq(&scripts["mac/52-54-00-aa-bb-01.ipxe"]);
    }

    #[test]
    fn order_of_machines_does_not_matter() {
        let (a, b) = (machine("a", "52:54:00:aa:bb:01"), machine("b", "52:54:00:aa:bb:02"));
        assert_eq!(render(&pxe(vec![a.clone(), b.clone()])), render(&pxe(vec![b, a])));
    }

    #[track_caller]
    fn check_finding(change: impl FnOnce(&mut Pxe), expected: &str) {
        let mut spec = pxe(vec![machine("n1", "52:54:00:aa:bb:01")]);
        change(&mut spec);
        assert_eq!(render(&spec).unwrap_err().to_string(), expected);
    }

    #[test]
    fn findings() {
        let split = "holds white space or a control character, which would split it in the script";
        check_finding(
            |spec| {
                spec.machines[0].kernel_args =
                    vec!["a b".into(), "c\nboot".into(), "||".into(), "${x}".into()]
            },
            &format!(
                "machine `n1`: kernel argument: `a b` {split}\n\
                 machine `n1`: kernel argument: `c\\nboot` {split}\n\
                 machine `n1`: kernel argument: `||` is an operator of iPXE scripts\n\
                 machine `n1`: kernel argument: `${{x}}` holds `${{`, which iPXE would expand"
            ),
        );
        check_finding(
            |spec| spec.machines[0].macs = vec!["52:54".into(), "52:54:00:aa:bb:0g".into()],
            "machine `n1`: MAC address: `52:54` is not an Ethernet address as 52:54:00:12:34:56\n\
             machine `n1`: MAC address: `52:54:00:aa:bb:0g` is not an Ethernet address as 52:54:00:12:34:56",
        );
        check_finding(
            |spec| spec.machines[0].macs.clear(),
            "machine `n1`: MAC addresses: `` is empty; it could not be told from others",
        );
        check_finding(
            |spec| spec.machines.push(machine("n2", "52-54-00-AA-BB-01")),
            "machine `n2`: MAC address: `52-54-00-AA-BB-01` is an address of `n1` too",
        );
        check_finding(
            |spec| spec.machines[0].install_disk = Some("sda".into()),
            "machine `n1`: install disk: `sda` is not a device below /dev",
        );
        check_finding(
            |spec| spec.machines[0].ignition = "/abs".into(),
            "machine `n1`: Ignition config: `/abs` is not a plain path below the base URL",
        );
        check_finding(
            |spec| spec.machines[0].name = "n 1".into(),
            &format!("machine name: `n 1` {split}"),
        );
        check_finding(
            |spec| {
                spec.machines[0].install_disk = Some("/dev/sda".into());
                spec.base = Some("tftp://192.0.2.1".into());
            },
            "machine `n1`: Ignition config: `ignition/n1.ign` would come by TFTP, which coreos-installer cannot fetch; \
             serve it by HTTP",
        );
        check_finding(
            |spec| {
                spec.base = Some("http://192.0.2.1/".into());
                spec.live.kernel = "ftp://192.0.2.1/k".into();
                spec.live.rootfs = String::new();
            },
            "base URL: `http://192.0.2.1/` ends with a `/`; leave it out\n\
             kernel: `ftp://192.0.2.1/k` is not an http, https or tftp URL\n\
             rootfs: `` is empty",
        );
    }
}
