//! Keys of systemd's units.
//!
//! Rules: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5), systemd.kill(5).

use super::Key::{self, Implied, Last, Lost, Read};

/// `[Service]`: what is read, and what a unit that runs podman cannot hand on.
pub(in super::super) const SERVICE: &[(&str, Key)] = &[
    ("CPUQuota", Read),
    ("Delegate", Implied("the kubelet makes the pod's cgroup")),
    ("Environment", Read),
    ("EnvironmentFile", Read),
    ("ExecStart", Read),
    ("ExecStartPre", Read),
    ("ExecStartPost", Read),
    ("ExecStop", Read),
    ("ExecStopPost", Read),
    ("ExecReload", Read),
    (
        "ExecCondition",
        Lost(
            "nothing decides whether a static pod starts",
            "name only the roles that run it in the cluster.yaml",
        ),
    ),
    ("MemoryLimit", Last("memory")),
    ("MemoryMax", Last("memory")),
    ("MemoryMin", Last("memory-reservation")),
    ("MemoryLow", Last("memory-reservation")),
    ("Restart", Read),
    ("RestartSec", Implied("the kubelet waits ten seconds, then twice as long each time")),
    ("RestartSteps", Implied("the kubelet waits ten seconds, then twice as long each time")),
    ("RestartMaxDelaySec", Implied("the kubelet waits at most five minutes")),
    ("Type", Read),
    ("RemainAfterExit", Implied("there is no service")),
    ("TimeoutSec", Implied("the kubelet pulls and starts without a limit of time")),
    ("TimeoutStartSec", Implied("the kubelet pulls and starts without a limit of time")),
    ("TimeoutStopSec", Read),
    ("TimeoutAbortSec", Implied("a pod ends within its grace period")),
    ("TimeoutStartFailureMode", Implied("a pod ends within its grace period")),
    ("TimeoutStopFailureMode", Implied("a pod ends within its grace period")),
    ("KillMode", Implied("the kubelet ends the whole container")),
    ("SendSIGKILL", Implied("what outlives the grace period is killed")),
    ("PIDFile", Implied("the kubelet keeps track of the process")),
    ("NotifyAccess", Implied("there is no service")),
    ("GuessMainPID", Implied("the kubelet keeps track of the process")),
    ("SyslogIdentifier", Implied("logs carry the pod's name")),
    ("StandardOutput", Implied("output goes to the container's log")),
    ("StandardError", Implied("output goes to the container's log")),
    ("CPUAccounting", Implied("the kubelet accounts for each pod")),
    ("MemoryAccounting", Implied("the kubelet accounts for each pod")),
    ("IOAccounting", Implied("the kubelet accounts for each pod")),
    ("TasksAccounting", Implied("the kubelet accounts for each pod")),
    (
        "TasksMax",
        Lost("the limit is one for all pods of a node", "set `podPidsLimit` of the kubelet"),
    ),
    (
        "WatchdogSec",
        Lost("nothing listens for keep-alives of a container", "write a liveness probe"),
    ),
    (
        "RuntimeMaxSec",
        Lost("a static pod is not ended after a time", "use a timer of systemd on the node"),
    ),
    (
        "User",
        Lost(
            "the unit runs podman as another user, the kubelet runs as root",
            "say by number who the container runs as",
        ),
    ),
    (
        "Group",
        Lost(
            "the unit runs podman as another user, the kubelet runs as root",
            "say by number who the container runs as",
        ),
    ),
    (
        "DynamicUser",
        Lost(
            "the unit runs podman as another user, the kubelet runs as root",
            "say by number who the container runs as",
        ),
    ),
];

/// Other keys of `[Service]` that shape the cgroup, which the container is in.
pub(super) const CGROUP: &str = "AllowedCPUs AllowedMemoryNodes BPFProgram BlockIOAccounting BlockIODeviceWeight \
BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth CPUQuotaPeriodSec CPUShares CPUWeight DefaultMemoryLow \
DefaultMemoryMin DeviceAllow DevicePolicy DisableControllers IOAccounting IODeviceLatencyTargetSec IODeviceWeight \
IOReadBandwidthMax IOReadIOPSMax IOWeight IOWriteBandwidthMax IOWriteIOPSMax IPAccounting IPAddressAllow \
IPAddressDeny IPEgressFilterPath IPIngressFilterPath ManagedOOMMemoryPressure ManagedOOMMemoryPressureLimit \
ManagedOOMPreference ManagedOOMSwap MemoryHigh MemorySwapMax MemoryZSwapMax OOMPolicy OOMScoreAdjust \
RestrictNetworkInterfaces Slice SocketBindAllow SocketBindDeny StartupAllowedCPUs StartupAllowedMemoryNodes \
StartupBlockIOWeight StartupCPUShares StartupCPUWeight StartupIOWeight";

/// Other keys of `[Service]`, for the program the unit starts, which is podman.
pub(super) const PROGRAM: &str = "AmbientCapabilities AppArmorProfile BindPaths BindReadOnlyPaths BusName CPUAffinity \
CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CacheDirectory CacheDirectoryMode \
CapabilityBoundingSet ConfigurationDirectory ConfigurationDirectoryMode CoredumpFilter ExecPaths ExecSearchPath \
ExitType ExtensionDirectories ExtensionImages FailureAction FileDescriptorStoreMax FinalKillSignal IOSchedulingClass \
IOSchedulingPriority IPCNamespacePath IgnoreSIGPIPE InaccessibleDirectories InaccessiblePaths KeyringMode KillSignal \
LimitAS LimitCORE LimitCPU LimitDATA LimitFSIZE LimitLOCKS LimitMEMLOCK LimitMSGQUEUE LimitNICE LimitNOFILE \
LimitNPROC LimitRSS LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK LoadCredential LoadCredentialEncrypted \
LockPersonality LogExtraFields LogLevelMax LogNamespace LogRateLimitBurst LogRateLimitIntervalSec LogsDirectory \
LogsDirectoryMode MemoryDenyWriteExecute MountAPIVFS MountFlags MountImages NUMAMask NUMAPolicy NetworkNamespacePath \
Nice NoExecPaths NoNewPrivileges NonBlocking PAMName PassEnvironment PermissionsStartOnly Personality \
PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivateTmp PrivateUsers ProcSubset ProtectClock \
ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables \
ProtectProc ProtectSystem ReadOnlyDirectories ReadOnlyPaths ReadWriteDirectories ReadWritePaths RebootArgument \
RemoveIPC RestartForceExitStatus RestartKillSignal RestartPreventExitStatus RestrictAddressFamilies \
RestrictFileSystems RestrictNamespaces RestrictRealtime RestrictSUIDSGID RootDirectory RootDirectoryStartOnly \
RootHash RootHashSignature RootImage RootImageOptions RootVerity RuntimeDirectory RuntimeDirectoryMode \
RuntimeDirectoryPreserve RuntimeRandomizedExtraSec SELinuxContext SecureBits SendSIGHUP SetCredential \
SetCredentialEncrypted SmackProcessLabel Sockets StandardInput StandardInputData StandardInputText StartLimitAction \
StartLimitBurst StartLimitInterval StateDirectory StateDirectoryMode SuccessExitStatus SupplementaryGroups \
SyslogFacility SyslogLevel SyslogLevelPrefix SystemCallArchitectures SystemCallErrorNumber SystemCallFilter \
SystemCallLog TTYColumns TTYPath TTYReset TTYRows TTYVHangup TTYVTDisallocate TemporaryFileSystem TimeoutCleanSec \
TimerSlackNSec UMask USBFunctionDescriptors USBFunctionStrings UnsetEnvironment UtmpIdentifier UtmpMode \
WatchdogSignal WorkingDirectory";

/// Keys of `[Unit]` that order units.
pub(super) const ORDER: &str = "After Before BindTo BindsTo Conflicts JoinsNamespaceOf OnFailure OnSuccess PartOf \
PropagateReloadFrom PropagateReloadTo PropagatesReloadTo PropagatesStopTo ReloadPropagatedFrom Requires \
RequiresMountsFor RequiresOverridable Requisite RequisiteOverridable StopPropagatedFrom Upholds Wants \
WantsMountsFor";

/// Keys of `[Unit]` about systemd's own jobs.
pub(super) const JOBS: &str = "AllowIsolate CollectMode DefaultDependencies FailureAction FailureActionExitStatus \
IgnoreOnIsolate JobRunningTimeoutSec JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec OnFailureIsolate \
OnFailureJobMode OnSuccessJobMode RebootArgument RefuseManualStart RefuseManualStop SourcePath StartLimitAction \
StartLimitBurst StartLimitInterval StartLimitIntervalSec StopWhenUnneeded SuccessAction SuccessActionExitStatus \
SurviveFinalKillSignal";

/// What follows `Condition` and `Assert` in keys of `[Unit]`.
pub(super) const CONDITIONS: &str = "ACPower Architecture CPUFeature CPUPressure CPUs Capability ControlGroupController \
Credential DirectoryNotEmpty Environment FileIsExecutable FileNotEmpty Firmware FirstBoot Group Host IOPressure \
KernelCommandLine KernelVersion Memory MemoryPressure NeedsUpdate OSRelease PathExists PathExistsGlob \
PathIsDirectory PathIsEncrypted PathIsMountPoint PathIsReadWrite PathIsSymbolicLink PathIsSocket Security User \
Version Virtualization";
