//! The PXE scripts in real iPXE firmware: qemu boots from the network, and a kernel of our own says what it was given.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic, as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use basalt_image::pxe::{Live, Machine, Pxe, render};
use e2e::peers::{Peer, peer};

/// Emulation without acceleration boots in some seconds; a busy machine may need much longer.
const LIMIT: Duration = Duration::from_secs(180);

/// An HTTP server for the machine's network, which notes what it was asked for.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves files, by path with a leading `/`, until the test's process ends. `files` is given the port.
    fn start(files: impl FnOnce(u16) -> BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let files = files(port);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A machine that hangs up early is no failure of the server.
                let _ = answer(stream, &files, &notes);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    asked.lock().unwrap().push(path.to_owned());
    let (status, body) = match files.get(path) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

/// A kernel in the format of Linux that writes its command line to the serial port and stops: what a boot loader has
/// handed over is then known without a system to boot.
///
/// Format: <https://docs.kernel.org/arch/x86/boot.html>
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x400 + 0x200];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]); // setup_sects: one sector after the boot sector
    put(0x1f4, &32u32.to_le_bytes()); // syssize in units of 16 bytes
    put(0x1fe, &[0x55, 0xaa]); // boot_flag
    put(0x200, &[0xeb, 0x66]); // jump over the header to 0x268
    put(0x202, b"HdrS");
    put(0x206, &0x0206u16.to_le_bytes()); // version, with cmd_line_ptr and cmdline_size
    put(0x211, &[1]); // loadflags: LOADED_HIGH
    put(0x214, &0x0010_0000u32.to_le_bytes()); // code32_start
    put(0x22c, &0x7fff_ffffu32.to_le_bytes()); // initrd_addr_max
    put(0x238, &2047u32.to_le_bytes()); // cmdline_size
    let code = [
        &[0x8b, 0x36, 0x28, 0x02][..], // mov si, [cmd_line_ptr]
        &[0xba, 0xf8, 0x03],           // mov dx, 0x3f8
        &[0xac],                       // next: lodsb
        &[0x84, 0xc0],                 // test al, al
        &[0x74, 0x03],                 // jz end
        &[0xee],                       // out dx, al
        &[0xeb, 0xf8],                 // jmp next
        &[0xb0, 0x0a],                 // end: mov al, '\n'
        &[0xee],                       // out dx, al
        &[0xf4],                       // stop: hlt
        &[0xeb, 0xfd],                 // jmp stop
    ];
    put(0x268, &code.concat());
    image
}

/// A machine that boots from the network by its firmware, and what its console says.
struct Guest {
    qemu: Child,
    console: Receiver<Vec<u8>>,
    seen: String,
}

impl Guest {
    fn start(qemu: &Peer, tftp: &Path, mac: &str) -> Self {
        let mut qemu = Command::new(&qemu.program)
            .args(["-M", "pc", "-m", "256", "-boot", "n", "-nographic", "-no-reboot"])
            .args(["-monitor", "none", "-serial", "stdio"])
            .arg("-netdev")
            .arg(format!("user,id=n0,tftp={},bootfile=boot.ipxe", tftp.display()))
            .arg("-device")
            .arg(format!("virtio-net-pci,netdev=n0,mac={mac}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = qemu.stdout.take().unwrap();
        let (pieces, console) = mpsc::channel();
        thread::spawn(move || {
            // By pieces and not by lines: a prompt has no line end.
            let mut buffer = [0; 256];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if pieces.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { qemu, console, seen: String::new() }
    }

    /// Waits until the console holds `words`. Line ends are left out: the firmware breaks lines at 80 columns.
    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let end = Instant::now() + LIMIT;
        while !self.seen.replace(['\r', '\n'], "").contains(words) {
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => panic!("no `{words}` on the console:\n{}", self.seen),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn machine(name: &str, mac: &str, install_disk: Option<&str>) -> Machine {
    Machine {
        name: name.into(),
        macs: vec![mac.into()],
        install_disk: install_disk.map(str::to_owned),
        kernel_args: vec!["console=ttyS0,115200n8".into()],
        ignition: format!("ignition/{name}.ign"),
    }
}

/// Serves the scripts of two machines with a live system; gives the folder for TFTP too.
fn serve() -> (Server, tempfile::TempDir) {
    let tftp = tempfile::tempdir().unwrap();
    let server = Server::start(|port| {
        let live = Live {
            kernel: "live/kernel".into(),
            initramfs: "live/initramfs.img".into(),
            rootfs: "live/rootfs.img".into(),
        };
        let machines = vec![
            machine("n1", "52:54:00:AA:bb:01", Some("/dev/vda")),
            machine("n2", "52:54:00:aa:bb:02", None),
        ];
        let base = Some(format!("http://10.0.2.2:{port}"));
        let scripts = render(&Pxe { base, live, machines }).unwrap();
        fs::write(tftp.path().join("boot.ipxe"), &scripts["boot.ipxe"]).unwrap();
        let mut files: BTreeMap<String, Vec<u8>> = scripts
            .into_iter()
            .map(|(path, script)| (format!("/{path}"), script.into_bytes()))
            .collect();
        files.insert("/live/kernel".into(), kernel());
        files.insert("/live/initramfs.img".into(), vec![0; 4096]);
        files
    });
    (server, tftp)
}

#[test]
fn firmware_boots_each_machine_its_own_way() {
    let Some(qemu) = peer("qemu-system-x86_64") else { return };
    let (server, tftp) = serve();
    let base = format!("http://10.0.2.2:{}", server.port);
    let common = format!(
        "initrd=main coreos.live.rootfs_url={base}/live/rootfs.img ignition.firstboot ignition.platform.id=metal"
    );
    let mut guest = Guest::start(&qemu, tftp.path(), "52:54:00:aa:bb:01");
    guest.wait_for(&format!(
        "{common} coreos.inst.install_dev=/dev/vda coreos.inst.ignition_url={base}/ignition/n1.ign \
         console=ttyS0,115200n8"
    ));
    drop(guest);
    let asked = ["/mac/52-54-00-aa-bb-01.ipxe", "/live/kernel", "/live/initramfs.img"];
    assert_eq!(server.asked(), asked);

    let mut guest = Guest::start(&qemu, tftp.path(), "52:54:00:aa:bb:02");
    guest.wait_for(&format!(
        "{common} ignition.config.url={base}/ignition/n2.ign console=ttyS0,115200n8"
    ));
}

#[test]
fn firmware_says_which_address_is_unknown() {
    let Some(qemu) = peer("qemu-system-x86_64") else { return };
    let (server, tftp) = serve();
    let mut guest = Guest::start(&qemu, tftp.path(), "52:54:00:aa:bb:99");
    guest.wait_for(&format!(
        "No script for the MAC address 52:54:00:aa:bb:99 at http://10.0.2.2:{}/mac/52-54-00-aa-bb-99.ipxe",
        server.port
    ));
    guest.wait_for("or wait 30 s for the next boot device");
}
