// Makes the offline images (pause, busybox, nginx) as archives out of Debian's own programs. The same packages give
// the same bytes, so an unchanged image is not imported again.
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type ImageConfig, type LayerEntry, ociArchitecture, writeImageArchive } from '../../src/image/oci-archive.ts';
import { catatonitPaths, makePauseArchive } from '../../src/image/pause-archive.ts';
import { downloadPackages, installPackages, output, run, SetupError } from './system.ts';

const installedBusybox = '/bin/busybox';
const pauseReference = 'registry.k8s.io/pause:3.9';

const passwd =
  'root:x:0:0:root:/root:/bin/sh\nnginx:x:101:101:nginx:/nonexistent:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n';
const group = 'root:x:0:\nnginx:x:101:\nnogroup:x:65534:\n';

const directory = (name: string, mode?: number): LayerEntry => ({ type: 'directory', name, ...(mode === undefined ? {} : { mode }) });
const file = (name: string, data: Uint8Array | string, mode?: number): LayerEntry => ({
  type: 'file',
  name,
  data,
  ...(mode === undefined ? {} : { mode }),
});
const symlink = (name: string, target: string): LayerEntry => ({ type: 'symlink', name, target });

const nginxConf = `user nginx;
worker_processes 1;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events {
  worker_connections 256;
}
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log;
  sendfile on;
  keepalive_timeout 65;
  include /etc/nginx/conf.d/*.conf;
}
`;

const defaultServer = `server {
  listen 80;
  server_name localhost;
  location / {
    root /usr/share/nginx/html;
    index index.html;
  }
}
`;

const welcome = `<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>This server runs as a static Pod, from an image made of Debian's nginx package without a registry.</p>
</body>
</html>
`;

/** Debian's busybox is static or not, depending on which of two packages is there: only one that needs no library will do. */
function staticBusybox(): LayerEntry[] {
  const entriesOf = (program: string): LayerEntry[] => {
    const applets = output(program, ['--list'])
      .split('\n')
      .filter((name) => name !== '' && name !== 'busybox')
      .sort();
    return [file('bin/busybox', readFileSync(program), 0o755), ...applets.map((name) => symlink(`bin/${name}`, 'busybox'))];
  };
  if (existsSync(installedBusybox) && !isDynamic(installedBusybox)) return entriesOf(installedBusybox);
  return withUnpacked(['busybox-static'], (dir) => entriesOf(path.join(dir, 'root', 'bin', 'busybox')));
}

/** A program that names a loader (the string of its PT_INTERP segment) needs libraries. */
function isDynamic(program: string): boolean {
  return /\/ld(-linux[^\0]*|64)?\.so/.test(readFileSync(program).subarray(0, 4096).toString('latin1'));
}

/** Downloads and unpacks packages into `dir/root` without installing them: installing a server would start it. */
function withUnpacked<T>(packages: readonly string[], use: (dir: string) => T): T {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-packages-'));
  try {
    // apt drops its privileges to download; a folder only root may enter would draw a warning.
    run('chmod', ['755', dir]);
    downloadPackages(packages, dir);
    for (const name of readdirSync(dir).filter((entry) => entry.endsWith('.deb'))) run('dpkg', ['-x', name, 'root'], { cwd: dir });
    return use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function librariesOf(program: string, packageDir: string): readonly string[] {
  const list = (): string => output('ldd', [program]);
  if (list().includes('not found')) {
    const deb = readdirSync(packageDir).find((entry) => /^nginx_.*\.deb$/.test(entry));
    const depends = deb === undefined ? '' : output('dpkg-deb', ['--field', path.join(packageDir, deb), 'Depends']);
    const names = depends.split(',').map((item) => item.trim().split(/[ :(|]/)[0] ?? '');
    installPackages(names.filter((name) => /^(lib|zlib)/.test(name)));
  }
  return [...list().matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '').sort();
}

/** Every folder above the entries, parents first. */
function parentsOf(entries: readonly LayerEntry[]): readonly LayerEntry[] {
  const present = new Set(entries.filter((entry) => entry.type === 'directory').map((entry) => entry.name.replace(/\/$/, '')));
  const missing = new Set<string>();
  for (const { name } of entries) {
    for (let dir = path.dirname(name); dir !== '.'; dir = path.dirname(dir)) if (!present.has(dir)) missing.add(dir);
  }
  return [...missing].sort().map((name) => directory(name));
}

function nginxEntries(dir: string): readonly LayerEntry[] {
  const root = path.join(dir, 'root');
  const program = path.join(root, 'usr/sbin/nginx');
  const libraries = librariesOf(program, dir).map((lib) => file(lib.slice(1), readFileSync(lib), 0o755));
  return [
    directory('tmp', 0o1777),
    directory('run'),
    directory('var/lib/nginx'),
    // For `sh` and `wget` in probes and hooks.
    ...staticBusybox(),
    file('usr/sbin/nginx', readFileSync(program), 0o755),
    ...libraries,
    file('etc/nginx/mime.types', readFileSync(path.join(root, 'etc/nginx/mime.types'))),
    file('etc/nginx/nginx.conf', nginxConf),
    file('etc/nginx/conf.d/default.conf', defaultServer),
    file('usr/share/nginx/html/index.html', welcome),
    symlink('var/log/nginx/access.log', '/dev/stdout'),
    symlink('var/log/nginx/error.log', '/dev/stderr'),
    file('etc/passwd', passwd),
    file('etc/group', group),
  ];
}

interface Recipe {
  readonly reference: string;
  readonly config: ImageConfig;
  entries(): readonly LayerEntry[];
}

const recipes: Readonly<Record<string, Recipe>> = {
  busybox: {
    reference: 'docker.io/library/busybox:latest',
    config: { Cmd: ['sh'], Env: ['PATH=/bin'] },
    entries: () => [
      directory('tmp', 0o1777),
      directory('root', 0o700),
      ...staticBusybox(),
      file('etc/passwd', passwd),
      file('etc/group', group),
      file('www/index.html', 'hello from busybox\n'),
    ],
  },
  nginx: {
    reference: 'docker.io/library/nginx:latest',
    config: {
      Entrypoint: ['/usr/sbin/nginx', '-g', 'daemon off;'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGQUIT',
    },
    entries: () => withUnpacked(['nginx', 'nginx-common'], nginxEntries),
  },
};

/** What the archives are made from: when it changes they are made again. */
function stampOf(checkout: string): string {
  const sources = ['scripts/setup/images.ts', 'src/image/oci-archive.ts', 'src/image/pause-archive.ts'].map((name) =>
    readFileSync(path.join(checkout, name)),
  );
  const programs = [installedBusybox, ...catatonitPaths].map((name) => {
    const info = existsSync(name) ? statSync(name) : undefined;
    return `${name} ${info?.size} ${info?.mtimeMs}`;
  });
  const hash = createHash('sha256');
  for (const part of [...sources, ...programs]) hash.update(part);
  return hash.digest('hex');
}

export function imagesAreUpToDate(checkout: string): boolean {
  const dir = path.join(checkout, '.cache', 'images');
  const stamp = path.join(dir, '.stamp');
  return (
    existsSync(stamp) &&
    readFileSync(stamp, 'utf8') === stampOf(checkout) &&
    ['pause', ...Object.keys(recipes)].every(
      (name) => lstatSync(path.join(dir, `${name}.tar`), { throwIfNoEntry: false })?.isFile() === true,
    )
  );
}

export async function makeImages(checkout: string): Promise<void> {
  const dir = path.join(checkout, '.cache', 'images');
  mkdirSync(dir, { recursive: true });
  const save = (name: string, bytes: Uint8Array): void => {
    const temporary = path.join(dir, `.${name}.tmp`);
    writeFileSync(temporary, bytes);
    renameSync(temporary, path.join(dir, `${name}.tar`));
  };
  const pause = await makePauseArchive(pauseReference);
  if (pause === undefined) throw new SetupError('catatonit is not installed: the pause image is made from it');
  save('pause', pause);
  for (const [name, recipe] of Object.entries(recipes)) {
    const entries = recipe.entries();
    const bytes = await writeImageArchive({
      reference: recipe.reference,
      architecture: ociArchitecture(process.arch),
      config: recipe.config,
      entries: [...parentsOf(entries), ...entries],
    });
    save(name, bytes);
  }
  writeFileSync(path.join(dir, '.stamp'), stampOf(checkout));
}
