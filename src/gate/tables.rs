//! The paths that classes and the hardline list are made of.
//!
//! `/x` is absolute, `~/x` is below any home, `**/x` is anywhere; a final `/**` takes the path itself and all below it.
//! `*` and `?` stay within a component. `!` in front takes what a pattern surely names out of the class again.

use super::class::PathClass;

/// Classes by path. Sources: FHS 3.0, hier(7), proc(5), the programs' own manuals.
#[rustfmt::skip]
pub(super) const CLASSES: &[(PathClass, &[&str])] = &[
    (
        PathClass::System,
        &[
            "/bin/**", "/boot/**", "/efi/**", "/etc/**", "/home", "/lib/**", "/lib32/**", "/lib64/**", "/libx32/**",
            "/lost+found/**", "/nix/**", "/opt/**", "/run/**", "/sbin/**", "/snap/**", "/srv/**", "/usr/**", "/tmp",
            "/var/**", "/.snapshots/**", "/gnu/**", "/ostree/**", "/sysroot/**", "/mnt", "/media", "/root", "/dev",
            "/vmlinuz*", "/initrd*", "/swapfile", "/swap.img", "/dev/kvm", "/dev/fuse", "/dev/net/**", "/dev/dri/**",
            "/dev/input/**", "/dev/uinput", "/dev/snd/**", "/dev/i2c*", "/dev/tpm*", "/dev/vhost*", "/dev/ttyS*",
        ],
    ),
    (PathClass::Mounted, &["/mnt/**", "/media/**", "/run/media/**"]),
    (PathClass::Temp, &["/tmp/**", "/var/tmp/**", "/dev/shm/**", "/run/user/*/**"]),
    (
        PathClass::Device,
        &[
            "/dev/sd*", "/dev/hd[a-z]*", "/dev/vd[a-z]*", "/dev/xvd*", "/dev/nvme*", "/dev/mmcblk*", "/dev/md[0-9]*",
            "/dev/md/**", "/dev/dm-*", "/dev/mapper/**", "/dev/disk/**", "/dev/block/**", "/dev/loop[0-9]*",
            "/dev/sr*", "/dev/sg[0-9]*", "/dev/bsg/**", "/dev/zd[0-9]*", "/dev/zvol/**", "/dev/nbd*",
            "/dev/ram[0-9]*", "/dev/zram*", "/dev/bcache*", "/dev/drbd*", "/dev/pmem*", "/dev/mtd*", "/dev/ubi*",
            "/dev/fd[0-9]*", "/dev/root", "/dev/cciss/**", "/dev/ida/**", "/dev/rbd*", "/dev/dasd*", "/dev/rssd*",
            "/dev/nst*", "/dev/st[0-9]*", "/dev/vg*/**", "/dev/ubuntu-vg/**", "/dev/rdisk*", "/dev/disk[0-9]*",
            "/dev/ada[0-9]*", "/dev/da[0-9]*", "/dev/ng[0-9]*", "/dev/swap", "/dev/efi-boot-entries",
        ],
    ),
    (
        PathClass::Stream,
        &[
            "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/tty[0-9]*",
            "/dev/pts/**", "/dev/ptmx", "/dev/stdin", "/dev/stdout/**", "/dev/stderr/**", "/dev/fd/**", "/dev/console",
            "/proc/*/fd/**", "/proc/*/task/*/fd/**", "/dev/tcp/**", "/dev/udp/**",
        ],
    ),
    (
        PathClass::Kernel,
        &[
            "/proc/sys/**", "/proc/sysrq-trigger", "/proc/irq/**", "/proc/acpi/**", "/proc/scsi/**", "/proc/mtrr",
            "/proc/*/oom_score_adj", "/proc/*/oom_adj", "/proc/*/uid_map", "/proc/*/gid_map", "/proc/*/setgroups",
            "/sys/**", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/watchdog*", "/dev/cpu/**",
            "/dev/mcelog", "/dev/rtc*", "/dev/hpet", "/proc/bus/**", "/proc/fs/**", "/proc/driver/**",
        ],
    ),
    (
        PathClass::Credential,
        &[
            "/etc/shadow*", "/etc/gshadow*", "/etc/security/opasswd", "/etc/sudoers", "/etc/sudoers.d/**",
            "/etc/ssh/ssh_host_*", "/etc/ssl/private/**", "/etc/pki/tls/private/**", "/etc/kubernetes/**",
            "/etc/krb5.keytab", "/etc/wireguard/**", "/etc/NetworkManager/system-connections/**",
            "/etc/ipsec.secrets", "/etc/openvpn/**", "/etc/letsencrypt/**", "/etc/docker/key.json", "/etc/rancher/**",
            "/etc/ppp/*-secrets", "/etc/wpa_supplicant/**", "/etc/machine-secret*", "/proc/*/environ",
            "/proc/*/task/*/environ", "/proc/*/mem", "/proc/*/maps", "/proc/kcore", "/dev/mem", "/dev/kmem",
            "/dev/port", "/var/run/docker.sock", "/run/docker.sock", "/run/podman/**", "/run/containerd/**",
            "/run/crio/**", "/run/secrets/**", "/var/run/secrets/**", "/run/credentials/**", "/run/user/*/keyring/**",
            "/run/user/*/gnupg/**", "/run/user/*/bus", "/run/user/*/podman/**", "/run/user/*/docker.sock",
            "/var/lib/kubelet/**", "/var/lib/docker/**", "/var/lib/etcd/**", "/var/lib/sss/**", "/var/lib/private/**",
            "/var/backups/shadow*", "/var/lib/jenkins/secrets/**", "/var/spool/cron/**", "/tmp/ssh-*/**",
            "/tmp/krb5cc_*", "/root/.ssh/**", "~/.ssh/**", "~/.gnupg/**", "~/.aws/**", "~/.azure/**",
            "~/.config/gcloud/**", "~/.kube/**", "~/.docker/**", "~/.netrc", "~/_netrc", "~/.pgpass", "~/.my.cnf",
            "~/.mylogin.cnf", "~/.npmrc", "~/.yarnrc*", "~/.pypirc", "~/.git-credentials",
            "~/.config/git/credentials", "~/.config/gh/**", "~/.config/hub", "~/.config/glab-cli/**",
            "~/.cargo/credentials*", "~/.gem/credentials", "~/.vault-token", "~/.terraformrc", "~/.terraform.d/**",
            "~/.password-store/**", "~/.local/share/keyrings/**", "~/.config/op/**", "~/.op/**", "~/.mozilla/**",
            "~/.config/google-chrome/**", "~/.config/chromium/**", "~/.config/BraveSoftware/**", "~/.thunderbird/**",
            "~/.config/sops/**", "~/.config/age/**", "~/.age/**", "~/.config/rclone/**", "~/.s3cfg", "~/.boto",
            "~/.oci/**", "~/.config/doctl/**", "~/.config/hcloud/**", "~/.fly/**", "~/.config/fly/**", "~/.heroku/**",
            "~/.config/netlify/**", "~/.vercel/**", "~/.config/configstore/**", "~/.composer/auth.json",
            "~/.config/composer/auth.json", "~/.m2/settings*.xml", "~/.gradle/gradle.properties", "~/.nuget/**",
            "~/.databrickscfg", "~/.snowsql/**", "~/.config/stripe/**", "~/.twilio-cli/**", "~/.huggingface/**",
            "~/.cache/huggingface/token", "~/.kaggle/**", "~/.config/anthropic/**", "~/.config/openai/**",
            "~/.openai/**", "~/.claude.json", "~/.claude/.credentials.json", "~/.codex/auth.json", "~/.gemini/oauth_creds.json", "~/.openclaw/**",
            "~/.config/github-copilot/**", "~/.qwen/oauth_creds.json", "/dev/input/event*", "~/.hermes/.env",
            "~/.hermes/auth*", "~/.bash_history", "~/.zsh_history", "~/.python_history", "~/.psql_history",
            "~/.mysql_history", "~/.node_repl_history", "~/.lesshst", "~/.local/share/fish/**", "~/.electrum/**",
            "~/.bitcoin/**", "~/.ethereum/**", "~/.config/solana/**", "~/.Xauthority", "~/.ICEauthority",
            "~/.config/Signal/**", "~/.config/Slack/**", "~/.config/discord/**", "~/.putty/**",
            "~/.config/filezilla/**", "~/.ansible/vault*", "~/.rhosts", "~/.smbcredentials",
            "~/.config/containers/auth.json", "~/.kde/share/apps/kwallet/**", "~/.local/share/kwalletd/**",
            "~/.config/keybase/**", "~/.secrets/**", "~/.pki/**", "~/.cert/**", "**/.env", "**/.env.local",
            "**/.env.prod*", "**/.env.dev*", "**/.env.stag*", "**/.envrc.private", "**/id_rsa",
            "**/id_ed25519", "**/id_ecdsa", "**/id_dsa", "**/id_*_sk", "**/*.p12", "**/*.pfx", "**/*.kdbx",
            "**/*.jks", "**/*.keystore", "**/*.key", "**/*key.pem", "**/.vault-token", "**/.git-credentials", "**/.netrc", "**/.pgpass",
            "**/.vault_pass*", "**/credentials.json", "**/service-account*.json", "**/service_account*.json",
            "**/.htpasswd", "**/secrets.y*ml", "**/secrets.json", "**/secrets.toml", "**/terraform.tfstate*",
            "**/.npmrc", "**/.pypirc", "**/.envrc", "**/.docker/config.json", "**/.kube/config", "**/.codex/auth.json",
            "**/.claude/.credentials.json", "**/.gemini/oauth_creds.json", "**/{prod,production,staging,dev,secrets}.env",
            "**/server.pem", "**/client.pem", "**/priv*.pem", "**/.ssh/**", "**/.password-store/**", "**/.config/op/**", "**/.aws/**", "**/.gnupg/**", "**/docker.sock",
            // the public half of a key pair is made to be shown
            "!**/*.pub",
        ],
    ),
    (
        PathClass::AgentConfig,
        &[
            "~/.claude/**", "~/.claude.json", "~/.codex/**", "~/.gemini/**", "~/.cursor/**", "~/.hermes/**",
            "~/.config/opencode/**", "~/.continue/**", "~/.aider*", "~/.config/goose/**", "~/.config/Code/User/**",
            "~/.vscode/**", "~/.config/nvim/**", "~/.vimrc", "~/.vim/**", "~/.emacs", "~/.emacs.d/**",
            "~/.config/zed/**", "**/.claude/**", "**/.codex/**", "**/.gemini/**", "**/.cursor/**", "**/.mcp.json",
            "**/.vscode/**", "**/.idea/**", "**/.continue/**", "**/.windsurf/**", "**/.cursorrules",
            "**/.github/copilot-instructions.md",
        ],
    ),
    (
        PathClass::Startup,
        &[
            "/etc/profile", "/etc/profile.d/**", "/etc/bash*", "/etc/zsh/**", "/etc/zshrc", "/etc/zshenv",
            "/etc/environment", "/etc/environment.d/**", "/etc/rc.local", "/etc/rc*.d/**", "/etc/init.d/**",
            "/etc/init/**", "/etc/inittab", "/etc/cron*/**", "/etc/anacrontab", "/var/spool/cron/**",
            "/var/spool/at/**", "/etc/systemd/**", "/usr/lib/systemd/**", "/lib/systemd/**", "/run/systemd/**",
            "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d/**", "/etc/pam.d/**", "/etc/udev/**",
            "/etc/modprobe.d/**", "/etc/modules-load.d/**", "/etc/sysctl.conf", "/etc/sysctl.d/**", "/etc/xdg/**",
            "/etc/skel/**", "/etc/sudoers", "/etc/sudoers.d/**", "/etc/passwd", "/etc/group", "/etc/ssh/**",
            "/etc/apt/**", "/etc/polkit-1/**", "/etc/dbus-1/**", "/etc/logrotate.d/**", "/etc/update-motd.d/**",
            "/etc/gitconfig", "/etc/hosts", "/etc/hosts.allow", "/etc/resolv.conf", "/etc/nsswitch.conf", "~/.bashrc",
            "~/.bash_profile", "~/.bash_login", "~/.bash_logout", "~/.bash_aliases", "~/.profile", "~/.zshrc",
            "~/.zshenv", "~/.zprofile", "~/.zlogin", "~/.zlogout", "~/.kshrc", "~/.mkshrc", "~/.cshrc", "~/.tcshrc",
            "~/.login", "~/.config/fish/**", "~/.inputrc", "~/.xinitrc", "~/.xprofile", "~/.xsession*",
            "~/.xserverrc", "~/.pam_environment", "~/.config/autostart/**", "~/.config/systemd/**",
            "~/.config/environment.d/**", "~/.local/share/systemd/**", "~/.gitconfig", "~/.config/git/**",
            "~/.tmux.conf", "~/.screenrc", "~/.ssh/rc", "~/.ssh/config", "~/.ssh/authorized_keys*",
            "~/.ssh/environment", "~/.forward", "~/.procmailrc", "~/.local/bin/**", "~/bin/**", "~/.cargo/config*",
            "~/.cargo/bin/**", "~/.npmrc", "~/.config/pip/**", "~/.pip/**", "~/.pythonrc*", "~/.config/direnv/**",
            "~/.gdbinit", "~/.config/gdb/**", "~/.psqlrc", "~/.sqliterc", "~/.lessfilter", "~/.wgetrc", "~/.curlrc",
            "~/.hgrc", "~/.mailcap", "~/.local/share/applications/**", "~/.config/mimeapps.list", "~/.crontab",
            "**/.git/hooks/**", "**/.git/config", "**/.git/info/attributes", "**/.husky/**", "**/.githooks/**",
            "**/.envrc", "**/.cargo/config*", "**/.npmrc", "**/.git/modules/*/hooks/**", "**/.bashrc", "**/.profile", "**/.zshrc",
        ],
    ),
    (
        PathClass::Execward,
        &[
            "/etc/execward/**", "/run/execward/**", "/var/run/execward/**", "/var/lib/execward/**",
            "~/.config/execward/**", "~/.local/share/execward/**", "~/.local/state/execward/**",
            "/run/user/*/execward*/**", "/run/execward*", "**/.execward/**",
        ],
    ),
    (PathClass::Repository, &["**/.git/**", "**/.hg/**", "**/.svn/**", "**/.jj/**"]),
    (
        PathClass::Build,
        &[
            "**/target/**", "**/node_modules/**", "**/dist/**", "**/build/**", "**/out/**", "**/obj/**",
            "**/_build/**", "**/.build/**", "**/cmake-build-*/**", "**/bazel-*/**", "**/CMakeFiles/**",
            "**/CMakeCache.txt", "**/*__pycache__*/**", "**/.pytest_cache/**", "**/.mypy_cache/**", "**/.ruff_cache/**",
            "**/.tox/**", "**/.nox/**", "**/.venv/**", "**/venv/**", "**/.eggs/**", "**/*.egg-info/**",
            "**/.cache/**", "**/.parcel-cache/**", "**/.next/**", "**/.nuxt/**", "**/.turbo/**", "**/.svelte-kit/**",
            "**/.angular/**", "**/.gradle/**", "**/.terraform/**", "**/coverage/**", "**/htmlcov/**", "**/.coverage*", "**/coverage.xml",
            "**/Pods/**", "**/vendor/bundle/**", "**/.git/*.lock", "**/DerivedData/**",
            "**/.nyc_output/**", "**/*.profraw", "**/tmp/**", "**/temp/**", "**/.tmp/**", "**/logs/*.log", "**/tmp.*",
            "**/*.tmp", "**/*.temp", "**/*.o", "**/*.obj", "**/*.a", "**/*.so", "**/*.pyc", "**/*.pyo", "**/*.class",
            "**/*.gcda", "**/*.gcno", "**/*.rlib", "**/*.d", "**/*.swp", "**/*.swo", "**/*~", "**/*.bak", "**/*.orig",
            "**/*.rej", "**/.DS_Store", "**/Thumbs.db", "**/a.out", "**/core", "**/core.[0-9]*", "**/nohup.out",
            "**/*.pid", "**/.*.pid", "**/*.lock.tmp", "**/*.log", "**/npm-debug.log*", "**/yarn-error.log", "**/.stack-work/**",
            "**/dist-newstyle/**", "**/zig-cache/**", "**/.zig-cache/**", "**/zig-out/**", "**/elm-stuff/**",
            "**/.dart_tool/**", "**/DerivedData/**", "**/.sass-cache/**", "**/.eslintcache", "**/.hypothesis/**",
            "**/test-results/**", "**/test-output/**", "**/playwright-report/**", "**/bin/Debug/**",
            "**/bin/Release/**", "**/result", "**/package-lock.json", "**/Cargo.lock", "**/poetry.lock", "**/uv.lock", "**/Pipfile.lock", "**/composer.lock", "**/Gemfile.lock", "**/go.sum", "**/yarn.lock", "**/pnpm-lock.yaml", "**/bun.lockb", "**/*.tsbuildinfo", "**/.ipynb_checkpoints/**", "**/site/**",
            "**/_site/**", "**/public/build/**", "**/.serverless/**", "**/.vite/**", "**/.output/**",
            "**/storybook-static/**", "**/*.whl", "**/*.gem", "**/.tsbuildinfo", "**/coverage.out", "**/coverage.txt", "**/lcov.info",
            "**/cover.out", "**/junit.xml", "**/junit-*.xml", "**/test-results.xml", "**/.vitepress/cache/**", "**/.vitepress/dist/**",
            "**/.docusaurus/**", "**/.pnpm-store/**", "**/perf.data", "**/perf.data.old", "**/flamegraph.svg", "**/*.prof",
            "**/*.stackdump", "**/.phpunit.result.cache", "**/.astro/**", "**/.wrangler/**", "**/.expo/**", "**/.swc/**",
            "**/*.aux", "**/*.fls", "**/*.fdb_latexmk", "**/*.synctex.gz", "**/*.toc", "**/*.blg", "**/*.lof", "**/*.lot", "**/*.nav",
            "**/*.snm", "**/*.vrb", "**/*.run.xml", "**/vgcore.*", "**/*.gch", "**/*.pch", "**/callgrind.out.*", "**/cachegrind.out.*",
            "**/massif.out.*", "**/gmon.out", "**/mutants.out/**", "**/.benchmarks/**", "**/.nx/cache/**", "**/.metals/**",
            "**/.bloop/**", "**/.bsp/**", "**/.lake/**", "**/out-tsc/**", "**/.vercel/output/**", "**/autom4te.cache/**",
            "**/config.status", "**/.libs/**", "**/cmake_install.cmake", "**/Testing/Temporary/**",
        ],
    ),
];

/// Directories whose loss ruins the machine. A child of `/home` and any home is one too (see `hardline`).
#[rustfmt::skip]
pub(super) const CRITICAL_TREES: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/efi", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/usr", "/var", "/snap", "/sysroot", "/ostree", "/gnu",
    "/.snapshots", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32",
    "/usr/share", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/include", "/usr/etc", "/var/lib",
    "/var/log", "/var/spool", "/var/db", "/var/mail", "/var/www", "/var/backups", "/var/lib/dpkg", "/var/lib/rpm",
    "/var/lib/pacman", "/var/lib/apk", "/var/lib/systemd", "/var/lib/docker", "/var/lib/containerd",
    "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/postgresql", "/var/lib/mysql", "/var/lib/libvirt",
    "/var/lib/snapd", "/etc/pam.d", "/etc/security", "/etc/ssh", "/etc/ssl", "/etc/systemd", "/etc/systemd/system",
    "/etc/init.d", "/etc/rc.d", "/etc/sudoers.d", "/etc/default", "/etc/udev", "/etc/network", "/etc/netplan",
    "/etc/NetworkManager", "/etc/alternatives", "/etc/apt", "/etc/dpkg", "/etc/grub.d", "/etc/ld.so.conf.d",
    "/etc/lvm", "/etc/selinux", "/etc/kubernetes", "/etc/cron.d", "/boot/efi", "/boot/grub", "/boot/grub2",
    "/boot/loader", "/boot/efi/EFI", "/lib/modules", "/usr/lib/modules", "/lib/modules/*", "/usr/lib/modules/*",
    "/lib/systemd", "/usr/lib/systemd", "/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/lib/firmware",
    "/usr/lib/firmware", "/lib/security", "/usr/lib/python3*", "/nix/store", "/nix/var", "/sys/firmware",
    "/sys/firmware/efi", "/sys/firmware/efi/efivars", "/dev/disk", "/dev/mapper", "/dev/block", "/dev/pts",
    // macOS, and drives of Windows as WSL mounts them
    "/Users", "/System", "/System/Library", "/Library", "/Applications", "/mnt/[c-z]", "/mnt/[c-z]/{Users,Windows,ProgramData}",
    "/mnt/[c-z]/Windows/System32", "/cygdrive/[c-z]", "/cygdrive/[c-z]/{Users,Windows}",
];

/// Files without which the machine does not start, does not let anybody in, or does not run programs.
#[rustfmt::skip]
pub(super) const ESSENTIAL_FILES: &[&str] = &[
    "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/fstab", "/etc/crypttab", "/etc/inittab",
    "/etc/nsswitch.conf", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/sudoers", "/etc/mtab", "/etc/machine-id",
    "/etc/pam.d/{common-auth,common-account,common-session,common-password,login,sshd,sudo,su,other,system-auth,password-auth,system-login}", "/etc/security/*", "/etc/default/grub", "/etc/subuid", "/etc/subgid", "/etc/shells",
    "/etc/login.defs", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/boot/vmlinuz*", "/boot/initrd*",
    "/boot/initramfs*", "/boot/System.map*", "/boot/grub/**", "/boot/grub2/**", "/boot/efi/**", "/boot/loader/**",
    "/boot/config-*", "/boot/kernel*", "/boot/*.img", "/boot/cmdline.txt", "/boot/config.txt",
    "/{vmlinuz,vmlinuz.old,initrd,initrd.img,initrd.img.old}", "/sys/firmware/efi/efivars/**",
    "/{,usr/,usr/local/}{bin,sbin}/{sh,bash,dash,busybox,ls,cat,cp,mv,rm,mount,umount,login,su,sudo,init,systemctl,env,ln,mkdir,chmod,chown,sed,grep,awk,tar,gzip,dpkg,apt,apt-get,rpm,dnf,yum,pacman,apk,ssh,sshd,passwd,getty,agetty,udevd,modprobe,insmod,fsck,ip,ps,kill,id,test,true,false,echo,find,python3,perl}",
    "/{,usr/}lib/systemd/**", "/{,usr/}lib/modules/**", "/{,usr/}lib/security/**",
    "/{,usr/}{lib,lib32,lib64}/{ld-linux*,ld-musl*,ld.so*,libc.so*,libc-*,libpthread*,libdl*,libm.so*,librt*,libstdc++*,libgcc_s*,libpam*,libcrypt*,libcrypto*,libssl*,libselinux*,libtinfo*,libz.so*,libsystemd*,libacl*,libpcre*}",
    "/{,usr/}lib/*-linux-gnu*/{ld-linux*,libc.so*,libc-*,libpthread*,libdl*,libm.so*,librt*,libstdc++*,libgcc_s*,libpam*,libcrypt*,libcrypto*,libssl*,libselinux*,libtinfo*,libz.so*,libsystemd*,libacl*,libpcre*}",
    "/var/lib/dpkg/status", "/var/lib/dpkg/available", "/var/lib/dpkg/info/**", "/var/lib/rpm/**",
];

/// Programs whose devices have names of their own: volumes, pools, arrays, boot entries.
#[rustfmt::skip]
pub(super) const VOLUME_MANAGERS: &[&str] = &[
    "lvremove", "vgremove", "pvremove", "lvreduce", "vgreduce", "lvm", "zfs", "zpool", "mdadm", "dmsetup", "nwipe", "nvme", "efibootmgr",
    "multipath", "bcache", "drbdadm", "storcli", "megacli", "sg_format", "sg_sanitize", "hdparm", "ipmitool", "diskutil", "diskpart", "format", "gpart",
];

/// Packages without which nothing on the machine runs.
#[rustfmt::skip]
pub(super) const ESSENTIAL_PACKAGES: &[&str] = &[
    "libc6", "glibc", "musl", "libc-bin", "coreutils", "bash", "dash", "busybox", "util-linux", "dpkg", "apt", "rpm", "pacman",
    "apk-tools", "base", "base-files", "base-passwd", "filesystem", "init", "systemd", "systemd-sysv", "sysvinit-core", "openrc",
    "login", "passwd", "shadow", "sed", "grep", "tar", "libsystemd0", "libpam-runtime", "pam", "mount", "e2fsprogs",
];

/// Trees of which a change of owner or mode throughout ruins the machine.
#[rustfmt::skip]
pub(super) const CORE_TREES: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var",
    "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/share", "/var/lib", "/home", "/root",
    "/etc/pam.d", "/etc/ssh", "/etc/ssl", "/etc/sudoers.d", "/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/nix", "/nix/store",
];

/// Files of the kernel whose writing stops the machine, all of its processes, or takes its disks away.
/// Sources: Documentation/admin-guide/sysrq.rst, Documentation/admin-guide/pm, cgroups(7), watchdog-api.rst.
#[rustfmt::skip]
pub(super) const KILL_SWITCHES: &[&str] = &[
    "/proc/sysrq-trigger", "/sys/power/**", "/dev/watchdog*", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore", "/proc/acpi/sleep",
    "/sys/fs/cgroup/cgroup.kill", "/sys/fs/cgroup/*/cgroup.kill", "/sys/fs/cgroup/*.slice/cgroup.kill",
    "/sys/fs/cgroup/cgroup.freeze", "/sys/fs/cgroup/*/cgroup.freeze", "/sys/block/*/device/delete", "/sys/class/block/*/device/delete",
    "/sys/class/scsi_device/*/device/delete", "/sys/class/nvme/*/reset_controller", "/sys/bus/pci/devices/*/remove",
    "/sys/bus/pci/devices/*/reset", "/sys/bus/pci/drivers/*/unbind", "/sys/devices/system/cpu/cpu0/online",
    "/sys/kernel/debug/provoke-crash/**", "/sys/firmware/efi/efivars/**",
    "/sys/class/net/*/device/remove",
];
