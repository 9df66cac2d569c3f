import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';

import type { Pod } from '../api/pod.ts';
import { Shutdown } from '../std/async.ts';
import { systemClock } from '../std/clock.ts';
import { silentLogger } from '../std/log.ts';
import { FileSource, type FileSourceDeps, type FileSourceOptions, manifestLimitBytes } from './file.ts';
import { type FileSystem, realFileSystem } from './file-system.ts';
import { type LastGood, LastGoodFolder, noLastGood } from './last-good.ts';
import type { ParsedManifest } from './manifest-set.ts';
import type { ManifestReport, SourceSnapshot } from './source.ts';

/** A manifest in the tests' own words: lines `name[ uid[ version]]`, closed by `end`, so that a part is recognised or not at will. */
function parse(bytes: Uint8Array, path: string): ParsedManifest {
  const lines = Buffer.from(bytes)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
  if (lines.length === 0) return { pods: [], problems: [{ field: '', message: 'empty' }] };
  const bad = lines.findIndex((line) => line.startsWith('!'));
  if (bad >= 0) return { pods: [], problems: [{ line: bad + 1, column: 1, field: '', message: lines[bad] ?? '' }] };
  if (lines[0] === 'crash') throw new TypeError('the parser crashed');
  return { pods: lines.map((line) => pod(line, path)), problems: [] };
}

function pod(line: string, path: string): Pod {
  const [name = '', uid = `${path}#${line}`, version = ''] = line.split(' ');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid, annotations: {}, labels: { version } },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  };
}

class Follower {
  readonly #stop = new AbortController();
  readonly #snapshots: AsyncIterator<SourceSnapshot>;
  readonly seen: SourceSnapshot[] = [];
  readonly source: FileSource;

  constructor(source: FileSource) {
    this.source = source;
    this.#snapshots = source.snapshots({ signal: this.#stop.signal })[Symbol.asyncIterator]();
  }

  async next(): Promise<SourceSnapshot> {
    const { value, done } = await this.#snapshots.next();
    assert.ok(done !== true, 'the source ended');
    this.seen.push(value);
    return value;
  }

  async until(what: (snapshot: SourceSnapshot) => boolean): Promise<SourceSnapshot> {
    const last = this.seen.at(-1);
    if (last !== undefined && what(last)) return last;
    for (;;) {
      const snapshot = await this.next();
      if (what(snapshot)) return snapshot;
    }
  }

  /** The names of the Pods, in order, as a sentence. */
  async untilPods(...names: readonly string[]): Promise<SourceSnapshot> {
    return await this.until((snapshot) => namesOf(snapshot).join() === names.join());
  }

  async stop(): Promise<void> {
    const ended = this.#snapshots.next();
    this.#stop.abort(new Shutdown());
    assert.equal((await ended).done, true);
  }
}

function namesOf(snapshot: SourceSnapshot): readonly string[] {
  return snapshot.pods.map((p) => `${p.metadata.name}${p.metadata.labels?.['version'] ?? ''}`);
}

function verdictOf(snapshot: SourceSnapshot, path: string): ManifestReport['verdict'] | undefined {
  return snapshot.manifests.find((report) => report.path === path)?.verdict;
}

describe('the folder source', { timeout: 60_000 }, () => {
  let root = '';
  let folder = '';
  let followers: Follower[] = [];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'pinpod-source-'));
    folder = join(root, 'manifests');
    mkdirSync(folder);
  });
  afterEach(async () => {
    for (const follower of followers) await follower.stop();
    followers = [];
    rmSync(root, { recursive: true, force: true });
  });

  // The rescan is an hour away: what arrives was told by inotify.
  function follow(options: Partial<FileSourceOptions> = {}, deps: Partial<FileSourceDeps> = {}): Follower {
    const source = new FileSource(
      { path: folder, fileCheckFrequencyMs: 3_600_000, sourceFaultPolicy: 'keep', quietMs: 30, ...options },
      { parse, fileSystem: realFileSystem, lastGood: noLastGood, clock: systemClock, log: silentLogger, ...deps },
    );
    const follower = new Follower(source);
    followers.push(follower);
    return follower;
  }

  const file = (name: string): string => join(folder, name);
  /** As a careful writer does it. */
  function moveIn(name: string, content: string): void {
    const hidden = file(`.${name}.new`);
    writeFileSync(hidden, content);
    renameSync(hidden, file(name));
  }

  it('C-012: an empty folder gives one snapshot without Pods', async () => {
    const snapshot = await follow().next();
    assert.deepEqual(snapshot.pods, []);
    assert.equal(snapshot.fault, undefined);
    assert.equal(snapshot.source, 'file');
  });

  it('C-001, C-002: a missing path gives an empty snapshot with the fault', async () => {
    const snapshot = await follow({ path: join(root, 'nowhere') }).next();
    assert.deepEqual(snapshot.pods, []);
    assert.equal(snapshot.fault, `${join(root, 'nowhere')} does not exist`);
  });

  it('S-009, S-014: a path that cannot be looked at, or is neither folder nor file, is a fault', async () => {
    symlinkSync(join(root, 'loop'), join(root, 'loop'));
    const looped = await follow({ path: join(root, 'loop') }).next();
    assert.deepEqual(looped.pods, []);
    assert.match(looped.fault ?? '', /loop.*ELOOP|too many symbolic links/);
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const piped = await follow({ path: join(root, 'pipe') }).next();
    assert.deepEqual(piped.pods, []);
    assert.match(piped.fault ?? '', /neither a folder nor a file/);
  });

  it('S-016: special characters in the path mean themselves', async () => {
    const odd = join(root, 'a[b]*?');
    mkdirSync(odd);
    mkdirSync(join(root, 'ab'));
    writeFileSync(join(odd, 'web.yaml'), 'web');
    writeFileSync(join(root, 'ab', 'other.yaml'), 'other');
    assert.deepEqual(namesOf(await follow({ path: odd }).next()), ['web']);
  });

  it('S-018: the manifests are in the order of their bytes', async () => {
    for (const name of ['b', 'a', 'B', 'ä']) writeFileSync(file(`${name}.yaml`), name);
    assert.deepEqual(namesOf(await follow().next()), ['B', 'a', 'b', 'ä']);
  });

  it('C-004, S-010, S-043, S-046: a file written into the watched folder is read', async () => {
    const follower = follow();
    await follower.next();
    writeFileSync(file('a.yaml'), 'one');
    await follower.untilPods('one');
  });

  it('C-007: a file changed in its place is read again', async () => {
    writeFileSync(file('a.yaml'), 'web u 1');
    const follower = follow();
    await follower.untilPods('web1');
    writeFileSync(file('a.yaml'), 'web u 2');
    await follower.untilPods('web2');
    assert.deepEqual(follower.seen.map(namesOf), [['web1'], ['web2']]);
  });

  it('C-010, S-050: a renamed file gives the Pod a new UID, and both never at once', async () => {
    writeFileSync(file('a.yaml'), 'web');
    const follower = follow();
    const before = await follower.untilPods('web');
    renameSync(file('a.yaml'), file('b.yaml'));
    const after = await follower.until((s) => s.pods[0] !== undefined && s.pods[0].metadata.uid !== before.pods[0]?.metadata.uid);
    assert.deepEqual(after.manifests, [{ path: file('b.yaml'), pod: 'default/web', verdict: { kind: 'accepted' } }]);
    for (const snapshot of follower.seen) assert.ok(snapshot.pods.length <= 1);
  });

  it('S-047: a file removed from the folder takes its Pod with it, a second one stays', async () => {
    writeFileSync(file('a.yaml'), 'a');
    writeFileSync(file('b.yaml'), 'b');
    const follower = follow();
    await follower.untilPods('a', 'b');
    unlinkSync(file('a.yaml'));
    await follower.untilPods('b');
    unlinkSync(file('b.yaml'));
    assert.equal((await follower.untilPods()).fault, undefined);
  });

  it('D5: a folder that cannot be watched is told, the rescan finds what changes, and the watch comes when it can', async () => {
    let isExhausted = true;
    const warnings: string[] = [];
    const fileSystem: FileSystem = {
      ...realFileSystem,
      watch: (path, onEvent, onEnd) => {
        if (isExhausted && path === folder) throw new Error('EMFILE');
        return realFileSystem.watch(path, onEvent, onEnd);
      },
    };
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const follower = follow({ fileCheckFrequencyMs: 20 }, { fileSystem, log });
    assert.equal((await follower.next()).unwatched, 'EMFILE');
    writeFileSync(file('a.yaml'), 'one');
    await follower.untilPods('one');
    isExhausted = false;
    await follower.until((s) => s.unwatched === undefined);
    assert.equal(warnings.length, 1);
  });

  it('C-005, C-008, S-004, S-021, S-052: the target of a link is found by the rescan', async () => {
    symlinkSync(join(root, 'target'), file('link.yaml'));
    const follower = follow({ fileCheckFrequencyMs: 20 });
    assert.equal(verdictOf(await follower.next(), file('link.yaml'))?.kind, 'rejected');
    writeFileSync(join(root, 'target'), 'web u 1');
    await follower.untilPods('web1');
    writeFileSync(join(root, 'target'), 'web u 2');
    const snapshot = await follower.untilPods('web2');
    // Known by the path of the link.
    assert.equal(snapshot.manifests[0]?.path, file('link.yaml'));
  });

  it('a folder of links swapped as Kubernetes mounts ConfigMaps (..data) is read anew', async () => {
    for (const version of ['1', '2']) {
      mkdirSync(file(`..${version}`));
      writeFileSync(join(folder, `..${version}`, 'web.yaml'), `web u ${version}`);
    }
    symlinkSync('..1', file('..data'));
    symlinkSync('..data/web.yaml', file('web.yaml'));
    const follower = follow();
    await follower.untilPods('web1');
    symlinkSync('..2', file('..data_tmp'));
    renameSync(file('..data_tmp'), file('..data'));
    await follower.untilPods('web2');
  });

  describe('C-084, S-044: what is not a manifest', () => {
    const ignored = [
      'pod.yaml~',
      'pod.yaml.bak',
      '.pod.yaml.swp',
      'x.swp',
      'pod.orig',
      '#pod.yaml#',
      '4913',
      'pod.rpmnew',
      'pod.yaml.dpkg-dist',
      'pod.dpkg-new',
    ];
    for (const name of ignored)
      it(name, async () => {
        writeFileSync(file(name), 'web');
        const snapshot = await follow().next();
        assert.deepEqual(snapshot.pods, []);
        // Hidden files are passed over in silence (S-015).
        assert.equal(verdictOf(snapshot, file(name))?.kind, name.startsWith('.') ? undefined : 'ignored');
      });

    it('S-020, S-022: folder, FIFO and device block nothing', async () => {
      mkdirSync(file('folder.yaml'));
      execFileSync('mkfifo', [file('fifo.yaml')]);
      symlinkSync('/dev/zero', file('zero.yaml'));
      writeFileSync(file('web.yaml'), 'web');
      const snapshot = await follow().untilPods('web');
      assert.deepEqual(
        snapshot.manifests.map(({ path, verdict }) => [
          path.slice(folder.length + 1),
          verdict.kind === 'ignored' ? verdict.why : verdict.kind,
        ]),
        [
          ['fifo.yaml', 'is a FIFO'],
          ['folder.yaml', 'is a directory; folders are not searched'],
          ['web.yaml', 'accepted'],
          ['zero.yaml', 'is a device'],
        ],
      );
    });

    it('S-029, S-019: a file of 1 GiB, one of 10 MiB, a loop of links, a dangling one and an unreadable file are rejected, one by one', async () => {
      for (const [name, size] of [
        ['gib.yaml', 2 ** 30],
        ['limit.yaml', manifestLimitBytes],
      ] as const) {
        writeFileSync(file(name), '');
        truncateSync(file(name), size);
      }
      symlinkSync('loop.yaml', file('loop.yaml'));
      symlinkSync('nowhere', file('dangling.yaml'));
      writeFileSync(file('secret.yaml'), 'secret');
      writeFileSync(file('web.yaml'), 'web');
      const snapshot = await follow({}, { fileSystem: { ...realFileSystem, read: refusing(file('secret.yaml')) } }).untilPods('web');
      const messages = snapshot.manifests.map(({ path, verdict }) => [
        path.slice(folder.length + 1),
        verdict.kind === 'rejected' ? verdict.problems.map((p) => p.message).join() : verdict.kind,
      ]);
      const tooLarge = 'the read limit is reached: a manifest must be smaller than 10485760 bytes';
      assert.deepEqual(messages, [
        ['dangling.yaml', 'is a symbolic link to a file that does not exist'],
        ['gib.yaml', tooLarge],
        ['limit.yaml', tooLarge],
        ['loop.yaml', 'is a loop of symbolic links'],
        ['secret.yaml', 'may not be read: permission denied'],
        ['web.yaml', 'accepted'],
      ]);
    });

    it('S-023: a parser that throws harms no other manifest', async () => {
      writeFileSync(file('a.yaml'), 'crash');
      writeFileSync(file('b.yaml'), 'b');
      const snapshot = await follow().untilPods('b');
      assert.deepEqual(verdictOf(snapshot, file('a.yaml')), {
        kind: 'rejected',
        problems: [{ field: '', message: 'the parser crashed' }],
        keptPods: false,
      });
    });
  });

  describe('D1: a bad source never stops a good Pod', () => {
    it('C-081, S-023, S-130: an invalid edit keeps the Pod, says why, and the next good one is taken', async () => {
      writeFileSync(file('a.yaml'), 'a u 1');
      writeFileSync(file('b.yaml'), 'b');
      const follower = follow({ fileCheckFrequencyMs: 20 });
      await follower.untilPods('a1', 'b');
      moveIn('a.yaml', 'a u 2\n! broken');
      const bad = await follower.until((s) => verdictOf(s, file('a.yaml'))?.kind === 'rejected');
      assert.deepEqual(namesOf(bad), ['a1', 'b']);
      assert.deepEqual(verdictOf(bad, file('a.yaml')), {
        kind: 'rejected',
        problems: [{ line: 2, column: 1, field: '', message: '! broken' }],
        keptPods: true,
      });
      // Many rescans later it still runs.
      writeFileSync(file('c.yaml'), 'c');
      await follower.untilPods('a1', 'b', 'c');
      moveIn('a.yaml', 'a u 3');
      await follower.untilPods('a3', 'b', 'c');
      assert.ok(follower.seen.every((s) => namesOf(s)[0]?.startsWith('a') === true));
    });

    for (const [what, damage] of [
      ['emptied', (path: string) => truncateSync(path, 0)],
      ['grown past the limit', (path: string) => truncateSync(path, manifestLimitBytes + 1)],
      ['replaced by a folder', replaceBy((path) => mkdirSync(path))],
      ['replaced by a dangling link', replaceBy((path) => symlinkSync('nowhere', path))],
      [
        'replaced by bytes that are no text',
        (path: string) => writeFileSync(path, Buffer.concat([Buffer.from('!'), Buffer.from([0xff, 0xfe, 0x00])])),
      ],
    ] as const)
      it(`a file ${what} keeps its Pod`, async () => {
        writeFileSync(file('a.yaml'), 'a');
        const follower = follow();
        await follower.untilPods('a');
        damage(file('a.yaml'));
        const snapshot = await follower.until((s) => verdictOf(s, file('a.yaml'))?.kind === 'rejected');
        assert.deepEqual(namesOf(snapshot), ['a']);
      });

    it('S-008, S-053: a folder that went missing keeps its Pods, and is watched again when it is back', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow();
      await follower.untilPods('a');
      renameSync(folder, join(root, 'elsewhere'));
      const missing = await follower.until((s) => s.fault !== undefined);
      assert.deepEqual(namesOf(missing), ['a']);
      assert.equal(missing.fault, `${folder} does not exist; its last Pods keep running`);
      renameSync(join(root, 'elsewhere'), folder);
      await follower.until((s) => s.fault === undefined);
      writeFileSync(file('b.yaml'), 'b');
      await follower.untilPods('a', 'b');
    });

    it('S-054, S-056: a folder made anew is read at once, and its files replace the old ones', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow();
      await follower.untilPods('a');
      rmSync(folder, { recursive: true });
      assert.deepEqual(namesOf(await follower.until((s) => s.fault !== undefined)), ['a']);
      mkdirSync(join(root, 'new'));
      writeFileSync(join(root, 'new', 'b.yaml'), 'b');
      renameSync(join(root, 'new'), folder);
      await follower.untilPods('b');
      writeFileSync(file('c.yaml'), 'c');
      await follower.untilPods('b', 'c');
    });

    it('an empty folder in its place, as after unmounting, keeps the Pods', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow();
      await follower.untilPods('a');
      renameSync(folder, join(root, 'elsewhere'));
      await follower.until((s) => s.fault !== undefined);
      mkdirSync(folder);
      const snapshot = await follower.until((s) => s.fault?.includes('replaced by an empty folder') === true);
      assert.deepEqual(namesOf(snapshot), ['a']);
      writeFileSync(file('b.yaml'), 'b');
      assert.equal((await follower.untilPods('b')).fault, undefined);
    });

    it('the folder replaced by a file that cannot be used keeps the Pods', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow();
      await follower.untilPods('a');
      rmSync(folder, { recursive: true });
      writeFileSync(folder, '! not a manifest');
      const snapshot = await follower.until((s) => s.fault?.includes('replaced by a file') === true);
      assert.deepEqual(namesOf(snapshot), ['a']);
    });
  });

  describe('files that are being written', () => {
    it('S-049: a slow writer is never seen half-way, though every part would be a manifest', async () => {
      const follower = follow({ quietMs: 10 });
      await follower.next();
      const fd = openSync(file('slow.yaml'), 'w');
      for (const part of ['one\n', 'two\n', 'three\n']) {
        writeSync(fd, part);
        // Another file shows that the source looked meanwhile, more than the quiet time later.
        writeFileSync(file(`mark-${part.trim()}.yaml`), `mark-${part.trim()}`);
        await follower.until((s) => namesOf(s).includes(`mark-${part.trim()}`));
      }
      closeSync(fd);
      await follower.until((s) => namesOf(s).includes('three'));
      for (const snapshot of follower.seen) {
        const names = namesOf(snapshot);
        assert.equal(names.includes('one'), names.includes('three'), names.join());
      }
    });

    it('where open files cannot be seen, a pause shorter than the quiet time does not show', async () => {
      // The second half is written right after the source has read the first.
      const fileSystem: FileSystem = {
        ...realFileSystem,
        isOpenForWriting: async () => false,
        async read(path, limit) {
          const contents = await realFileSystem.read(path, limit);
          if (contents.bytes.length === 3) appendFileSync(path, '\ntwo');
          return contents;
        },
      };
      const follower = follow({ quietMs: 200 }, { fileSystem });
      await follower.next();
      writeFileSync(file('slow.yaml'), 'one');
      await follower.untilPods('one', 'two');
      assert.deepEqual(follower.seen.map(namesOf), [[], ['one', 'two']]);
    });

    it('a file that is never closed is believed in the end', async () => {
      const follower = follow({ quietMs: 5, longestWriteMs: 50 });
      await follower.next();
      const fd = openSync(file('open.yaml'), 'w');
      writeSync(fd, 'open');
      await follower.untilPods('open');
      closeSync(fd);
    });

    it('a moved-in file is taken at its first look: no snapshot waits for quiet', async () => {
      const follower = follow({ quietMs: 3_600_000 });
      await follower.next();
      moveIn('a.yaml', 'a u 1');
      await follower.untilPods('a1');
      moveIn('a.yaml', 'a u 2');
      await follower.untilPods('a2');
      moveIn('a.yaml', '! bad');
      await follower.until((s) => verdictOf(s, file('a.yaml'))?.kind === 'rejected');
    });

    it('C-057: deleted and made anew with the same contents is a removal and a new beginning, whatever is seen of it', async () => {
      writeFileSync(file('a.yaml'), 'web');
      const follower = follow({ quietMs: 300 });
      await follower.untilPods('web');
      for (const parts of [['web'], ['', 'w', 'eb']]) {
        const gone = follower.next();
        unlinkSync(file('a.yaml'));
        for (const part of parts) {
          appendFileSync(file('a.yaml'), part);
          // It is looked at between two parts.
          if (parts.length > 1) await systemClock.sleep(5, new AbortController().signal);
        }
        await gone;
        await follower.next();
      }
      assert.deepEqual(follower.seen.map(namesOf), [['web'], [], ['web'], [], ['web']]);
    });

    it('the same contents moved over, or saved by an editor that moves the old file away, are no change', async () => {
      writeFileSync(file('a.yaml'), 'web');
      const follower = follow({ quietMs: 30 });
      await follower.untilPods('web');
      const next = follower.next();
      for (let i = 0; i < 3; i++) moveIn('a.yaml', 'web');
      for (let i = 0; i < 3; i++) {
        renameSync(file('a.yaml'), file('a.yaml~'));
        writeFileSync(file('a.yaml'), 'web');
        unlinkSync(file('a.yaml~'));
        await systemClock.sleep(i * 5, new AbortController().signal);
      }
      moveIn('b.yaml', 'b');
      await next;
      await follower.untilPods('web', 'b');
      assert.ok(follower.seen.every((s) => namesOf(s).includes('web')));
    });

    it('a file that was made and not yet written is no manifest yet, good or bad', async () => {
      const follower = follow({ quietMs: 30 });
      await follower.next();
      const next = follower.next();
      const fd = openSync(file('a.yaml'), 'w');
      await systemClock.sleep(100, new AbortController().signal);
      writeSync(fd, 'web');
      closeSync(fd);
      assert.deepEqual(namesOf(await next), ['web']);
    });

    it('an editor that moves the old file away and writes a new one never takes the Pod away', async () => {
      writeFileSync(file('a.yaml'), 'a u 1');
      // The source looks at the folder in the very moment when there is no such file.
      let looked = (): void => undefined;
      const fileSystem: FileSystem = {
        ...realFileSystem,
        async list(path) {
          const names = await realFileSystem.list(path);
          if (!names.includes('a.yaml')) looked();
          return names;
        },
      };
      const follower = follow({ quietMs: 300 }, { fileSystem });
      await follower.untilPods('a1');
      const hasLooked = new Promise<void>((resolve) => {
        looked = resolve;
      });
      const next = follower.next();
      renameSync(file('a.yaml'), file('a.yaml~'));
      await hasLooked;
      writeFileSync(file('a.yaml'), 'a u 2');
      await next;
      await follower.untilPods('a2');
      assert.ok(follower.seen.every((s) => s.pods.length === 1));
    });

    it('S-048: a touched file is no change', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow();
      const before = await follower.untilPods('a');
      utimesSync(file('a.yaml'), 1, 1);
      chmodSync(file('a.yaml'), 0o600);
      appendFileSync(file('b.yaml'), 'b');
      const after = await follower.untilPods('a', 'b');
      assert.equal(after.pods[0], before.pods[0]);
    });
  });

  describe('S-025: two files with one Pod', () => {
    it('C-083: the first by name wins, the other is shadowed until it is alone', async () => {
      writeFileSync(file('a.yaml'), 'web');
      writeFileSync(file('b.yaml'), 'web');
      const follower = follow();
      const both = await follower.untilPods('web');
      assert.deepEqual(verdictOf(both, file('b.yaml')), { kind: 'shadowed', by: file('a.yaml') });
      assert.deepEqual(
        both.shadowed?.map(({ metadata }) => metadata.uid),
        [`${file('b.yaml')}#web`],
      );
      unlinkSync(file('a.yaml'));
      const alone = await follower.until((s) => s.manifests.length === 1);
      assert.equal(alone.pods[0]?.metadata.uid, `${file('b.yaml')}#web`);
    });

    it('S-027: neither can two Pods share a pinned UID', async () => {
      writeFileSync(file('a.yaml'), 'one same');
      writeFileSync(file('b.yaml'), 'two same\nthree');
      const snapshot = await follow().untilPods('one', 'three');
      assert.deepEqual(
        snapshot.manifests.map(({ pod: name, index, verdict }) => [name, index, verdict.kind]),
        [
          ['default/one', undefined, 'accepted'],
          ['default/two', 0, 'shadowed'],
          ['default/three', 1, 'accepted'],
        ],
      );
    });
  });

  describe('a single file', () => {
    it('C-006, C-009, S-012, S-057: created later, changed, removed', async () => {
      const path = join(root, 'pod.yaml');
      const follower = follow({ path });
      assert.equal((await follower.next()).fault, `${path} does not exist`);
      writeFileSync(path, 'web u 1');
      assert.equal((await follower.untilPods('web1')).fault, undefined);
      writeFileSync(path, 'web u 2');
      await follower.untilPods('web2');
      unlinkSync(path);
      await follower.untilPods();
    });

    it('C-009: a link to a file: changes of the target are told by inotify', async () => {
      const path = join(root, 'link.yaml');
      writeFileSync(join(folder, 'target'), 'web u 1');
      symlinkSync(join(folder, 'target'), path);
      const follower = follow({ path });
      await follower.untilPods('web1');
      writeFileSync(join(folder, 'target'), 'web u 2');
      await follower.untilPods('web2');
    });

    it('C-011, S-013: damaged contents keep the Pod', async () => {
      const path = join(root, 'pod.yaml');
      writeFileSync(path, 'web');
      const follower = follow({ path });
      await follower.untilPods('web');
      writeFileSync(path, '! damaged');
      const snapshot = await follower.until((s) => verdictOf(s, path)?.kind === 'rejected');
      assert.deepEqual(namesOf(snapshot), ['web']);
    });
  });

  describe('sourceFaultPolicy: follow', () => {
    it('S-024, C-081: the next rescan drops the Pod of a file that became invalid', async () => {
      writeFileSync(file('a.yaml'), 'a');
      writeFileSync(file('b.yaml'), 'b');
      const follower = follow({ sourceFaultPolicy: 'follow', fileCheckFrequencyMs: 20 });
      await follower.untilPods('a', 'b');
      moveIn('a.yaml', '! bad');
      const snapshot = await follower.untilPods('b');
      assert.equal(verdictOf(snapshot, file('a.yaml'))?.kind, 'rejected');
    });

    it('S-008: a missing folder takes the Pods', async () => {
      writeFileSync(file('a.yaml'), 'a');
      const follower = follow({ sourceFaultPolicy: 'follow' });
      await follower.untilPods('a');
      rmSync(folder, { recursive: true });
      await follower.untilPods();
    });
  });

  describe('D2: after a restart', () => {
    let lastGood: LastGood;
    beforeEach(() => {
      lastGood = new LastGoodFolder({ folder: join(root, 'state') }, { log: silentLogger });
    });
    /** One life of the agent, up to the named Pods. */
    async function live(names: readonly string[], during: () => void = () => undefined): Promise<SourceSnapshot> {
      during();
      const follower = follow({}, { lastGood });
      const snapshot = await follower.untilPods(...names);
      await follower.stop();
      followers = followers.filter((f) => f !== follower);
      return snapshot;
    }

    it('a manifest that was damaged meanwhile keeps its Pod, under the same UID', async () => {
      const before = await live(['a'], () => writeFileSync(file('a.yaml'), 'a'));
      const after = await live(['a'], () => writeFileSync(file('a.yaml'), '! bad'));
      assert.equal(after.pods[0]?.metadata.uid, before.pods[0]?.metadata.uid);
      assert.deepEqual(verdictOf(after, file('a.yaml')), {
        kind: 'rejected',
        problems: [{ line: 1, column: 1, field: '', message: '! bad' }],
        keptPods: true,
      });
    });

    it('a folder that is missing, or empty because not mounted, keeps its Pods', async () => {
      await live(['a'], () => writeFileSync(file('a.yaml'), 'a'));
      const missing = await live(['a'], () => renameSync(folder, join(root, 'elsewhere')));
      assert.ok(missing.fault?.includes('does not exist'));
      const empty = await live(['a'], () => mkdirSync(folder));
      assert.ok(empty.fault?.includes('replaced by an empty folder'));
    });

    it('S-248: a manifest that was removed meanwhile is gone, for good', async () => {
      await live(['a'], () => writeFileSync(file('a.yaml'), 'a'));
      await live([], () => unlinkSync(file('a.yaml')));
      await live([], () => renameSync(folder, join(root, 'elsewhere')));
    });

    it('a damaged memory is set aside', async () => {
      await live(['a'], () => writeFileSync(file('a.yaml'), 'a'));
      for (const name of execFileSync('ls', [join(root, 'state')], { encoding: 'utf8' })
        .trim()
        .split('\n'))
        appendFileSync(join(root, 'state', name), 'x');
      await live(['b'], () => {
        unlinkSync(file('a.yaml'));
        writeFileSync(file('b.yaml'), 'b');
      });
    });
  });

  it('any sequence of edits ends in the state of the last good contents (D1)', async () => {
    type Edit = { readonly name: string; readonly how: 'write' | 'move' | 'bad' | 'empty' | 'remove'; readonly version: number };
    const edit = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      how: fc.constantFrom('write' as const, 'move' as const, 'bad' as const, 'empty' as const, 'remove' as const),
      version: fc.nat(99),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(edit, { maxLength: 12 }),
        fc.array(fc.boolean(), { maxLength: 12 }),
        async (edits: readonly Edit[], waits) => {
          rmSync(folder, { recursive: true, force: true });
          mkdirSync(folder);
          const follower = follow({ quietMs: 5, fileCheckFrequencyMs: 50 });
          await follower.next();
          const good = new Map<string, string>();
          for (const [i, { name, how, version }] of edits.entries()) {
            const path = file(`${name}.yaml`);
            if (how === 'remove') {
              rmSync(path, { force: true });
              good.delete(name);
            } else if (how === 'bad') moveIn(`${name}.yaml`, `${name} u${name} ${version}\n! bad`);
            else if (how === 'empty') writeFileSync(path, '');
            else {
              if (how === 'write') writeFileSync(path, `${name} u${name} ${version}`);
              else moveIn(`${name}.yaml`, `${name} u${name} ${version}`);
              good.set(name, `${name}${version}`);
            }
            // Only what was seen good can be kept: the next edit follows when this one has arrived.
            if (how === 'write' || how === 'move' || how === 'remove' || waits[i] === true)
              await follower.until((s) =>
                good.has(name) ? namesOf(s).includes(good.get(name) ?? '') : !namesOf(s).some((n) => n.startsWith(name)),
              );
          }
          const wanted = [...good.keys()].sort().map((name) => good.get(name));
          await follower.until((s) => namesOf(s).join() === wanted.join());
          await follower.stop();
          followers = followers.filter((f) => f !== follower);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('three hundred edits at once end in the last one', async () => {
    const follower = follow();
    await follower.next();
    for (let i = 0; i < 300; i++) moveIn('a.yaml', `a u ${i}`);
    await follower.untilPods('a299');
    for (let i = 0; i < 300; i++) writeFileSync(file('a.yaml'), `a u ${i}${i % 2 === 0 ? '\n! bad' : ''}`);
    await follower.until((s) => verdictOf(s, file('a.yaml'))?.kind === 'accepted' && namesOf(s).join() === 'a299');
  });

  it('a thousand files: one that changes is found among them', async () => {
    for (let i = 0; i < 1000; i++) writeFileSync(file(`pod-${i}.yaml`), `pod-${i}`);
    const reads: string[] = [];
    const fileSystem: FileSystem = {
      ...realFileSystem,
      read(path, limit) {
        reads.push(path);
        return realFileSystem.read(path, limit);
      },
    };
    const follower = follow({}, { fileSystem });
    assert.equal((await follower.until((s) => s.pods.length === 1000)).manifests.length, 1000);
    reads.length = 0;
    moveIn('pod-500.yaml', 'changed');
    await follower.until((s) => namesOf(s).includes('changed'));
    assert.deepEqual(reads, [file('pod-500.yaml')]);
  });

  describe('a preview', () => {
    async function preview(...contents: readonly (readonly [string, string | undefined])[]): Promise<readonly string[]> {
      writeFileSync(file('a.yaml'), 'a');
      writeFileSync(file('b.yaml'), 'b');
      const follower = follow();
      const before = await follower.untilPods('a', 'b');
      const bytes = contents.map(([name, text]) => [file(name), text === undefined ? undefined : Buffer.from(text)] as const);
      const { pods, manifests } = follower.source.preview(new Map(bytes));
      assert.deepEqual(follower.source.preview(new Map()).pods, before.pods, 'nothing was changed by it');
      return [
        ...pods.map(({ metadata }) => metadata.name),
        ...manifests.map(({ path, verdict }) => `${path.slice(folder.length + 1)} ${verdict.kind}`),
      ];
    }
    const rows: readonly (readonly [string, readonly [string, string | undefined], readonly string[]])[] = [
      ['another version', ['a.yaml', 'c'], ['c', 'b', 'a.yaml accepted', 'b.yaml accepted']],
      ['a file more', ['c.yaml', 'c'], ['a', 'b', 'c', 'a.yaml accepted', 'b.yaml accepted', 'c.yaml accepted']],
      ['a file gone', ['a.yaml', undefined], ['b', 'b.yaml accepted']],
      ['one that cannot be used keeps its Pods (D1)', ['a.yaml', '! bad'], ['a', 'b', 'a.yaml rejected', 'b.yaml accepted']],
      ['a Pod that is there already (S-025)', ['0.yaml', 'b'], ['b', 'a', '0.yaml accepted', 'a.yaml accepted', 'b.yaml shadowed']],
      ['no manifest at all', ['c.yaml~', 'c'], ['a', 'b', 'a.yaml accepted', 'b.yaml accepted', 'c.yaml~ ignored']],
    ];
    for (const [name, content, expected] of rows) it(name, async () => assert.deepEqual(await preview(content), expected));
  });

  it('S-055: a watch that cannot be put leaves the rescan', async () => {
    const fileSystem: FileSystem = {
      ...realFileSystem,
      watch: () => {
        throw Object.assign(new Error('no space left for watches'), { code: 'ENOSPC' });
      },
    };
    const follower = follow({ fileCheckFrequencyMs: 20 }, { fileSystem });
    await follower.next();
    writeFileSync(file('a.yaml'), 'a');
    await follower.untilPods('a');
    unlinkSync(file('a.yaml'));
    await follower.untilPods();
  });
});

function replaceBy(make: (path: string) => void): (path: string) => void {
  return (path) => {
    unlinkSync(path);
    make(path);
  };
}

function refusing(path: string): FileSystem['read'] {
  return async (asked, limit) => {
    if (asked === path) throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
    return await realFileSystem.read(asked, limit);
  };
}
