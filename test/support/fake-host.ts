// A machine made of texts, for the gatherers of node facts and usage.
import type { DiskSpace, Host, HostInterface } from '../../src/agent/host.ts';

export class FakeHost implements Host {
  readonly files = new Map<string, string>();
  readonly disks = new Map<string, DiskSpace>();
  readonly folders = new Map<string, { readonly usedBytes: number; readonly files: number }>();
  readonly names = new Map<string, readonly string[]>();
  /** Paths read, in order. */
  readonly reads: string[] = [];
  network: readonly HostInterface[] = [];
  madeAt: number | undefined;
  lookups = 0;
  /** A resolver that never answers. */
  isDeaf = false;

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [path, text] of Object.entries(files)) this.files.set(path, text);
  }

  async readText(path: string): Promise<string | undefined> {
    this.reads.push(path);
    return this.files.get(path);
  }

  async revision(path: string): Promise<string | undefined> {
    return this.files.get(path);
  }

  async createdAt(): Promise<number | undefined> {
    return this.madeAt;
  }

  async folderUsage(path: string) {
    return this.folders.get(path) ?? { usedBytes: 0, files: 0 };
  }

  async list(path: string): Promise<readonly string[]> {
    const below = [...this.files.keys()].filter((file) => file.startsWith(`${path}/`));
    return [...new Set(below.map((file) => file.slice(path.length + 1).split('/')[0] ?? ''))];
  }

  treeUsage(path: string) {
    return this.folderUsage(path);
  }

  async disk(path: string): Promise<DiskSpace | undefined> {
    return this.disks.get(path);
  }

  interfaces(): readonly HostInterface[] {
    return this.network;
  }

  lookup(name: string): Promise<readonly string[]> {
    this.lookups++;
    return this.isDeaf ? new Promise(() => undefined) : Promise.resolve(this.names.get(name) ?? []);
  }
}

export const eth0: HostInterface = { name: 'eth0', address: '192.0.2.7', internal: false };
export const loopback: HostInterface = { name: 'lo', address: '127.0.0.1', internal: true };

export const routeToEth0 =
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n' +
  'eth1\t00000000\t010200C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n' +
  'eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n' +
  'eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n';

export function disk(change: Partial<DiskSpace> = {}): DiskSpace {
  return { capacityBytes: 1000, availableBytes: 600, freeBytes: 650, inodes: 100, inodesFree: 80, ...change };
}
