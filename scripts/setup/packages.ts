// The Debian packages pinpod needs at run time, each known by the files it is needed for: what came another way than
// by apt counts as well.
import { catatonitPaths } from '../../src/image/pause-archive.ts';
import { findProgram } from './system.ts';

interface Requirement {
  readonly package: string;
  /** Of each line one must exist: program names or absolute paths. */
  readonly files: readonly (readonly string[])[];
}

const requirements: readonly Requirement[] = [
  { package: 'containerd', files: [['containerd'], ['ctr'], ['containerd-shim-runc-v2']] },
  { package: 'runc', files: [['runc']] },
  {
    package: 'containernetworking-plugins',
    files: ['bridge', 'host-local', 'portmap', 'loopback'].map((name) => [`/usr/lib/cni/${name}`, `/opt/cni/bin/${name}`]),
  },
  { package: 'iptables', files: [['iptables']] },
  { package: 'iproute2', files: [['ip']] },
  { package: 'catatonit', files: [catatonitPaths] },
];

/** A D-Bus with a logind for test/integration/logind.test.ts, and systemd's programs that speak to it. */
const testRequirements: readonly Requirement[] = [
  { package: 'dbus-daemon', files: [['dbus-daemon']] },
  { package: 'systemd', files: [['busctl'], ['systemd-inhibit']] },
  { package: 'python3-dbus', files: [['/usr/lib/python3/dist-packages/dbus']] },
  { package: 'python3-gi', files: [['/usr/lib/python3/dist-packages/gi']] },
];

/** Certificates are data: `findProgram` looks for programs. */
const certificates = '/usr/sbin/update-ca-certificates';

export function missingPackages(): readonly string[] {
  const missing = missingOf(requirements);
  return findProgram([certificates]) === undefined ? [...missing, 'ca-certificates'] : missing;
}

export function missingTestPackages(): readonly string[] {
  return missingOf(testRequirements);
}

function missingOf(all: readonly Requirement[]): readonly string[] {
  return all.filter(({ files }) => files.some((names) => findProgram(names) === undefined)).map((requirement) => requirement.package);
}
