//! Values to write into fields: good ones that make the config's parts meet, bad ones for each rule, odd ones for YAML.
//!
//! All are YAML as it is written.

/// What fits a field: the first list is valid somewhere, the second breaks a rule somewhere.
pub(crate) struct Pool {
    pub good: &'static [&'static str],
    pub bad: &'static [&'static str],
}

const fn pool(good: &'static [&'static str], bad: &'static [&'static str]) -> Pool {
    Pool { good, bad }
}

const PATHS: Pool = pool(
    &[
        "/a",
        "/b",
        "/a/b",
        "/a/b/c",
        "/etc/x.conf",
        "/var/lib/x",
        "/var",
        "/etc",
        "/srv/data",
        "/x/y",
    ],
    &[
        "\"\"",
        "a",
        "./a",
        "/a/",
        "/a//b",
        "/a/../b",
        "/",
        "/.",
        "/etc/systemd/system/a.service",
        "/etc/systemd/system/b.service.d/x.conf",
        "/etc/systemd/system/a.service.d/10-a.conf",
        "\"/a b\"",
        "/ä",
        "//",
    ],
);

const DEVICES: Pool = pool(
    &[
        "/dev/sda",
        "/dev/sdb",
        "/dev/sda1",
        "/dev/disk/by-id/coreos-boot-disk",
        "/dev/mapper/data",
        "/dev/mapper/root",
        "/dev/disk/by-partlabel/root",
        "/dev/disk/by-label/boot",
        "/dev/md/md-root",
        "/dev/disk/by-id/dm-name-data",
        "/dev/md/data",
        "/dev/disk/by-partlabel/esp-1",
        "/dev/vda",
    ],
    &["\"\"", "sda", "/dev/../dev/sda", "/dev//sda", "/dev/sd a", "/dev/ä-b", "/dev/sda/"],
);

const HASHES: Pool = pool(
    &[
        "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
    &[
        "\"\"",
        "sha512",
        "sha512-",
        "sha1-da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "md5-x",
        "sha256-abcd",
        "sha512-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "-",
        "sha256-a-b",
    ],
);

const SOURCES: Pool = pool(
    &[
        "https://example.com/a",
        "http://example.com/b?x=y#z",
        "\"data:,hello\"",
        "\"data:;base64,aGVsbG8=\"",
        "s3://bucket/key",
        "tftp://host/file",
        "\"data:text/plain;charset=utf-8,a%20b\"",
        "https://example.com:8080/x",
    ],
    &[
        "\"\"",
        "gs://bucket/key",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "example.com/x",
        "\"http://[::1\"",
        "\"http://a b/\"",
        "http://a/%zz",
        "\"data:\"",
        "\"data:,%zz\"",
        "\"data:;base64,***\"",
        "\"data:;base64,YQ\"",
        "s3://b/k?versionId=",
        "s3://b/k?versionId=x",
        "arn:aws:s3:::b/k",
        "arn:aws:s3:us-west-2:123:accesspoint/p/object/k",
        "arn:aws:s3:::b",
        "arn:aws:ec2:::b/k",
        "arn:aws:s3:::b/k?versionId=",
        "\":\"",
        "\"http://\"",
        "HTTP://x/y",
        "\"http://user:pa ss@h/\"",
        "\"http://h:port/\"",
        "\"http://h:/\"",
        "/abs",
        "x:y",
        "\"1:2\"",
        "\"data:;charset=x,a\"",
        "\"data:text,a\"",
        "\"data:;base64;x=y,YQ==\"",
        "\"arn:\"",
        "s3:b",
    ],
);

const INLINES: Pool = pool(
    &[
        "hello",
        "\"\"",
        "\"a b\\nc\\n\"",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        "é<>&",
        "\"%%%%%%%%%%\"",
        "\"\\0\"",
        "a~!*'()b",
    ],
    &["\"{}\""],
);

const INNER_CONFIGS: Pool = pool(
    &[
        "'{\"ignition\":{\"version\":\"3.0.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.2.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.3.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.4.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.5.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.6.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.7.0-experimental\"}}'",
    ],
    &[
        "\"{}\"",
        "''",
        "x",
        "'{\"ignition\":{\"version\":\"3.4.0\"},\"storage\":{\"files\":[{\"path\":\"a\"}]}}'",
        "'{\"ignition\":{\"version\":\"3.3.0\"},\"x\":1}'",
        "'{\"ignition\":{\"version\":\"3.3.0\"},\"systemd\":{\"units\":[{\"name\":\"a\"}]}}'",
        "'[]'",
        "'{\"ignition\":{\"version\":3}}'",
        "'{\"ignition\":{\"version\":\"2.2.0\"}}'",
        "'{\"ignition\":{\"version\":\"3.2.0\"},\"storage\":{\"files\":[{\"path\":\"/a\",\"mode\":\"x\"}]}}'",
        "'{\"ignition\":{\"version\":\"9.0.0\"}}'",
        "'{\"ignition\":'",
        "'{\"ignition\":{\"version\":\"3.5.0\"},\"storage\":{\"files\":[{\"path\":\"/a\"},{\"path\":\"/a\"}]}}'",
    ],
);

const LOCALS: Pool = pool(
    &[
        "hello.txt",
        "/hello.txt",
        "sub/../hello.txt",
        "./hello.txt",
        "long.txt",
        "bytes.bin",
        "lines.txt.gz",
        "empty",
    ],
    &[
        "missing.txt",
        "../hello.txt",
        "tree",
        "\"\"",
        "sub/../../x",
        "hello.txt/",
        "hello.txt/x",
        "/",
        ".",
    ],
);

const UNIT_TEXTS: Pool = pool(
    &[
        "\"[Unit]\\nDescription=a\\n\"",
        "\"[Service]\\nExecStart=/bin/true\\n\\n[Install]\\nWantedBy=multi-user.target\\n\"",
        "\"\"",
        "\"# only\\n\"",
        "\"[Install]\\nWantedBy=a\"",
    ],
    &[
        "\"[Unit\"",
        "\"[Unit] x\\n\"",
        "\"[Unit]\\nno option\\n\"",
        "foo",
        "\"foo=bar\"",
        "\"[Unit]\\nA=b\\\\\\n c\\n\"",
        "\"[Unit]\\n=x\"",
        "\"[]\\nA=b\"",
        "\"[Unit]\\n# c\\\\\\nfoo\\n\"",
        "\"[A]\\n;x\\nB=\\n\"",
        "\"\\n\\n[A]\\n\"",
        "\"[Unit]\\r\\nA=b\\r\\n\"",
        "\"[Unit]\\n  A=b\\n\"",
        "\"  [Unit]\\nA=b\\n\"",
        "\"[Unit]\\nA=b\\\\\"",
        "\"[A]B]\\nx=y\"",
    ],
);

const UUIDS: Pool = pool(
    &["01234567-89ab-cdef-0123-456789abcdef", "\"\"", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"],
    &[
        "x",
        "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "{01234567-89ab-cdef-0123-456789abcdef}",
    ],
);

const IDS: Pool = pool(&["0", "1", "500"], &["-1", "99999999999"]);

const NAMES: Pool = pool(&["a", "b", "core", "root"], &["\"\"", "\"a b\"", "ä"]);

/// The pool for the field at `path`, `storage.files.path`; none when any value will do.
pub(crate) fn text(path: &str) -> Pool {
    let last = path.rsplit('.').next().unwrap_or_default();
    let parent = path.rsplit('.').nth(1).unwrap_or_default();
    match (parent, last) {
        (_, "variant" | "version") => pool(&["x"], &["x"]),
        ("trees", "local") => pool(
            &["tree", "sub", "./tree/", "tree/inner", "empty-tree"],
            &["missing", "hello.txt", "../tree", "\"\"", "/", "link", "tree/link"],
        ),
        ("trees", "path") => {
            pool(&["/", "/usr/local", "/a", "/etc/../opt", "\"\""], &["a", "./a", "a/../.."])
        }
        ("filesystems", "path") => pool(
            &[
                "/var/lib/data",
                "/srv",
                "/",
                "/etc/x",
                "/var",
                "/var/l-ib/ä.b",
                "/var/.hidden",
                "/boot",
                "\"\"",
            ],
            PATHS.bad,
        ),
        (_, "path") => PATHS,
        ("boot_device" | "luks", "device") if path.starts_with("boot_device") => pool(
            &["/dev/dasda", "/dev/sda", "/dev/sdb"],
            &["/dev/vda", "\"\"", "sda", "/dev/disk/by-id/x", "/dev/", "/dev/dasd"],
        ),
        (_, "device") => DEVICES,
        (_, "hash") => HASHES,
        ("merge" | "replace", "source") => pool(
            &[
                "https://example.com/a.ign",
                "http://example.com/b?x=y#z",
                "s3://bucket/key",
                "tftp://host/file",
            ],
            SOURCES.bad,
        ),
        ("merge" | "replace", "local") => pool(&["config.ign", "./config.ign"], LOCALS.bad),
        (_, "source") => SOURCES,
        ("merge" | "replace", "inline") => INNER_CONFIGS,
        (_, "inline") => INLINES,
        (_, "local") => LOCALS,
        (_, "contents_local") => pool(&["unit.service", "hello.txt", "empty"], LOCALS.bad),
        (_, "contents") => UNIT_TEXTS,
        (_, "compression") => pool(&["gzip", "\"\""], &["xz", "GZIP", "bzip2"]),
        (_, "http_proxy" | "https_proxy") => pool(
            &["http://proxy:3128", "https://proxy", "\"http://u:p@h/\""],
            &[
                "\"\"",
                "proxy:3128",
                "ftp://proxy",
                "\"http://[\"",
                "socks5://x",
                "HTTP://x",
                "//x",
                "\"%zz\"",
            ],
        ),
        ("http_headers", "name") => pool(&["A", "B", "Authorization"], &["\"\"", "a", "\"a b\""]),
        ("http_headers", "value") => pool(&["x", "y"], &["\"\""]),
        ("units", "name") => pool(
            &[
                "a.service",
                "b.service",
                "c@.service",
                "c@1.service",
                "d.timer",
                "var-lib-data.mount",
                "srv.mount",
                "e.socket",
                "f.slice",
                "dev-sda1.swap",
            ],
            &[
                "\"\"",
                "a",
                "a.conf",
                "b.network",
                "a.service.d",
                ".service",
                "a.scope",
                "a.SERVICE",
                "c@1.mount",
            ],
        ),
        ("quadlets", "name") => pool(
            &[
                "a.container",
                "b.volume",
                "c@.container",
                "c@1.container",
                "d.network",
                "e.kube",
                "f.image",
                "g.build",
                "h.pod",
                "i.artifact",
            ],
            &[
                "\"\"",
                "a",
                "a.service",
                ".container",
                "@.container",
                "c@1.volume",
                "a/b.container",
                "c@2.container",
                "@1.container",
                "c@1@2.container",
                "c@.pod",
            ],
        ),
        ("dropins", "name") => {
            pool(&["10-a.conf", "x.conf"], &["\"\"", "a", "a.conf.d", ".conf", "conf"])
        }
        ("filesystems", "format") => pool(
            &["ext4", "xfs", "vfat", "swap", "btrfs"],
            &["none", "\"\"", "ntfs", "ext3", "EXT4", "tmpfs"],
        ),
        ("filesystems", "label") => pool(
            &["data", "\"\""],
            &["sixteen-bytes-xx", "seventeen-bytes-x", "twelve-bytes", "éééééé", "elevenbytes"],
        ),
        ("luks", "label") => pool(
            &["luks-data", "\"\""],
            &[
                "0123456789012345678901234567890123456789012345678",
                "01234567890123456789012345678901234567890123456",
            ],
        ),
        ("partitions", "label") => pool(
            &[
                "root",
                "data",
                "boot",
                "EFI-SYSTEM",
                "BIOS-BOOT",
                "PowerPC-PReP-boot",
                "swap",
                "esp-1",
                "root-1",
            ],
            &[
                "\"\"",
                "a:b",
                "0123456789012345678901234567890123456",
                "012345678901234567890123456789012345",
                "ääääääääääääääääääää",
                "reserved",
            ],
        ),
        (_, "guid" | "type_guid" | "uuid") => UUIDS,
        ("raid", "level") => pool(
            &["raid1", "raid0", "1", "mirror", "raid5", "raid10"],
            &["\"\"", "raid7", "linear", "RAID1", "stripe", "0", "raid-1"],
        ),
        ("raid", "name") => pool(&["data", "md-root", "md-boot"], &["\"\"", "a/b", "\"a b\""]),
        ("luks", "name") => pool(&["data", "root", "swap"], &["\"\"", "a/b", "/", "\"a b\""]),
        (_, "target") => pool(&["/a", "../b", "/etc/x.conf", "a b"], &["\"\"", "/a/../b", "/x/y"]),
        (_, "url") => pool(
            &["http://tang.example", "https://tang:8080/x"],
            &["\"\"", "tang", "ftp://tang", "\"http://[\"", "http://%zz", "//tang"],
        ),
        (_, "thumbprint") => pool(&["abc", "REPLACE-ME"], &["\"\""]),
        (_, "advertisement") => pool(
            &["'{\"payload\": \"x\"}'", "'{}'", "\"\""],
            &["x", "'[]'", "'{'", "'\"x\"'", "'{} x'", "null"],
        ),
        ("custom", "pin") => pool(&["tpm2", "tang", "sss"], &["\"\"", "pkcs11", "x", "TPM2"]),
        ("custom", "config") => pool(&["'{}'", "'{\"url\":\"x\"}'"], &["\"\"", "x"]),
        ("boot_device", "layout") => pool(
            &["x86_64", "aarch64", "ppc64le"],
            &["s390x-eckd", "s390x-zfcp", "s390x-virt", "\"\"", "arm64", "s390x"],
        ),
        ("openshift", "kernel_type") => {
            pool(&["default", "realtime", "\"\""], &["64k-pages", "rt", "Default"])
        }
        ("metadata", "name") => pool(&["50-worker", "a"], &["\"\""]),
        ("grub.users" | "users", "name") if path.starts_with("grub") => {
            pool(&["root", "admin"], &["\"\"", "\"a b\"", "\"a\\\"b\""])
        }
        ("users", "password_hash") if path.starts_with("grub") => {
            pool(&["grub.pbkdf2.sha512.x", "hash"], &["\"\""])
        }
        ("users", "name") => pool(&["core", "core", "a", "root"], &["\"\"", "\"a b\""]),
        (_, "name" | "primary_group") => NAMES,
        _ => pool(&["x", "/bin/sh", "a-b"], &["\"\"", "\"a b\""]),
    }
}

/// The pool for the items of the list of texts at `path`.
pub(crate) fn item(path: &str) -> Pool {
    let last = path.rsplit('.').next().unwrap_or_default();
    let parent = path.rsplit('.').nth(1).unwrap_or_default();
    match (parent, last) {
        (_, "devices") => DEVICES,
        (_, "ssh_authorized_keys_local") => pool(&["keys.pub", "empty", "hello.txt"], LOCALS.bad),
        ("filesystems", "mount_options") => {
            pool(&["ro", "noatime", "\"a b\""], &["\"\"", "_netdev"])
        }
        ("luks", "options") => {
            pool(&["--cipher", "aes", "--cipher=x", "-c", "--iter-time=1"], &["\"\""])
        }
        ("openshift", "kernel_arguments") => {
            pool(&["quiet", "rd.luks.key=/etc/luks/cex.key", "a=b"], &["\"\""])
        }
        ("openshift", "extensions") => pool(&["usbguard", "kerberos"], &["\"\""]),
        (_, "should_exist" | "should_not_exist") => {
            pool(&["quiet", "a=b", "rd.luks.key=/etc/luks/cex.key", "c d"], &["\"\""])
        }
        _ => pool(&["a", "b", "c", "wheel"], &["\"\"", "\"a b\""]),
    }
}

/// The pool for the number at `path`.
pub(crate) fn number(path: &str) -> Pool {
    let last = path.rsplit('.').next().unwrap_or_default();
    match last {
        "mode" | "file_mode" | "dir_mode" => pool(
            &["0644", "0755", "0600", "0700", "420", "0", "0777"],
            &[
                "644", "755", "600", "1777", "01755", "04755", "02755", "07777", "010000", "-1",
                "1755", "777", "444", "400", "4755", "0666", "511", "384", "666", "700",
            ],
        ),
        "number" => pool(&["1", "2", "3", "4", "0"], &["-1", "129"]),
        "size_mib" => pool(&["100", "8192", "0", "1"], &["8191", "-1", "10000000"]),
        "start_mib" => pool(&["1", "101", "0", "1000"], &["-1", "50"]),
        "spares" => pool(&["0", "1"], &["-1", "5"]),
        "threshold" => pool(&["1", "2", "0"], &["-1", "9"]),
        "http_response_headers" | "http_total" => pool(&["0", "10", "600"], &["-1"]),
        _ => IDS,
    }
}
