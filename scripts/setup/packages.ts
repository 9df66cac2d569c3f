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

/** Certificates are data: `findProgram` looks for programs. */
const certificates = '/usr/sbin/update-ca-certificates';

export function missingPackages(): readonly string[] {
  const missing = requirements.filter(({ files }) => files.some((names) => findProgram(names) === undefined)).map((r) => r.package);
  return findProgram([certificates]) === undefined ? [...missing, 'ca-certificates'] : missing;
}
