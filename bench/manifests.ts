// A folder of manifests: how long `pinpod validate` takes for all of them, and how soon one that changes has its verdict.
// Prints figures and asserts nothing. Run: node bench/manifests.ts [manifests] [runs]
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FileSource } from '../src/source/file.ts';
import { realFileSystem } from '../src/source/file-system.ts';
import { LastGoodFolder } from '../src/source/last-good.ts';
import { parseFileManifest } from '../src/source/parse-manifest.ts';
import type { SourceSnapshot } from '../src/source/source.ts';
import { Shutdown } from '../src/std/async.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';

const count = Number(process.argv[2] ?? 1000);
const runs = Number(process.argv[3] ?? 20);

function manifest(i: number, version: number): string {
  return `apiVersion: v1
kind: Pod
metadata:
  name: pod-${i}
  labels:
    app: web
    tier: front
spec:
  restartPolicy: Always
  containers:
    - name: web
      image: registry.example.com/team/web:1.${version}
      ports:
        - name: http
          containerPort: 8080
          protocol: TCP
      env:
        - name: LEVEL
          value: info
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
      resources:
        requests:
          cpu: 100m
          memory: 64Mi
        limits:
          memory: 128Mi
      readinessProbe:
        httpGet:
          path: /ready
          port: http
      volumeMounts:
        - name: data
          mountPath: /data
  volumes:
    - name: data
      hostPath:
        path: /var/lib/web-${i}
        type: DirectoryOrCreate
`;
}

const ms = (value: number): string => `${value.toFixed(0)} ms`;

function show(what: string, durations: readonly number[]): void {
  const sorted = durations.toSorted((a, b) => a - b);
  const at = (share: number): string => ms(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
  console.log(`| ${what} | ${at(0.5)} | ${at(0.9)} | ${ms(sorted[0] ?? Number.NaN)} | ${sorted.length} |`);
}

/** CPU time of children that have ended, in milliseconds. */
function childrenMs(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

function measureValidate(folder: string): { readonly wall: readonly number[]; readonly cpu: readonly number[] } {
  const program = path.join(import.meta.dirname, '..', 'bin', 'pinpod');
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let run = 0; run < runs; run++) {
    const begun = performance.now();
    const before = childrenMs();
    execFileSync(program, ['validate', folder], { stdio: 'ignore' });
    wall.push(performance.now() - begun);
    cpu.push(childrenMs() - before);
  }
  return { wall, cpu };
}

/** From the moment a file is in its place until the snapshot that has its new verdict. */
async function measureVerdicts(
  folder: string,
  kept: string,
  version: number,
  place: (name: string, text: string) => void,
): Promise<readonly number[]> {
  const stop = new AbortController();
  const source = new FileSource(
    { path: folder, fileCheckFrequencyMs: 20_000, sourceFaultPolicy: 'keep' },
    {
      parse: parseFileManifest({ nodeName: 'node1' }),
      fileSystem: realFileSystem,
      lastGood: new LastGoodFolder({ folder: kept }, { log: silentLogger }),
      clock: systemClock,
      log: silentLogger,
    },
  );
  const snapshots = source.snapshots({ signal: stop.signal })[Symbol.asyncIterator]();
  const until = async (isIt: (snapshot: SourceSnapshot) => boolean): Promise<void> => {
    for (;;) {
      const { value, done } = await snapshots.next();
      if (done === true) throw new Error('the source ended');
      if (isIt(value)) return;
    }
  };
  await until(({ pods }) => pods.length === count);
  const durations: number[] = [];
  for (let run = 1; run <= runs; run++) {
    const i = (run * 37) % count;
    const image = `registry.example.com/team/web:1.${version + run}`;
    // The source looks only when it is asked: it must be waiting before the file changes.
    const seen = until(({ pods }) =>
      pods.some(({ metadata, spec }) => metadata.name === `pod-${i}-node1` && spec.containers[0]?.image === image),
    );
    await systemClock.sleep(300, stop.signal);
    const text = manifest(i, version + run);
    const begun = performance.now();
    place(`pod-${i}.yaml`, text);
    await seen;
    durations.push(performance.now() - begun);
  }
  const ended = snapshots.next();
  stop.abort(new Shutdown());
  await ended;
  return durations;
}

const dir = mkdtempSync(path.join(tmpdir(), 'pinpod-bench-'));
try {
  const folder = path.join(dir, 'manifests');
  mkdirSync(folder);
  for (let i = 0; i < count; i++) writeFileSync(path.join(folder, `pod-${i}.yaml`), manifest(i, i));
  console.log(`| ${count} manifests | p50 | p90 | best | n |\n| --- | --- | --- | --- | --- |`);
  const validate = measureValidate(folder);
  show('`pinpod validate`, from the start of the process to its end', validate.wall);
  show('`pinpod validate`, CPU time', validate.cpu);
  const moved = await measureVerdicts(folder, path.join(dir, 'kept1'), 10_000, (name, text) => {
    writeFileSync(path.join(folder, `.${name}`), text);
    renameSync(path.join(folder, `.${name}`), path.join(folder, name));
  });
  show('one file moved in, from the rename to its verdict', moved);
  const written = await measureVerdicts(folder, path.join(dir, 'kept2'), 20_000, (name, text) =>
    writeFileSync(path.join(folder, name), text),
  );
  show('one file written in its place, to its verdict (it must be quiet for 100 ms first)', written);
} finally {
  rmSync(dir, { recursive: true });
}
