// Manifest → CRI requests. Every field the runtime is sent is in the file beside the manifest; UPDATE_GOLDEN=1 rewrites it.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { allContainers, type Pod } from '../../src/api/pod.ts';
import { buildContainerConfig } from '../../src/pod/container-config.ts';
import { buildSandboxConfig } from '../../src/pod/sandbox-config.ts';
import { silentLogger } from '../../src/std/log.ts';
import type { Mounter } from '../../src/volume/mounter.ts';
import { Volumes } from '../../src/volume/volumes.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { buildNode } from '../support/node-facts.ts';

const folder = fileURLToPath(new URL('.', import.meta.url));
const node = buildNode({
  cgroup: { version: 2, driver: 'systemd', root: '/', perQos: true, swapController: true },
  singleProcessOomKill: false,
});
const options = { signal: new AbortController().signal };
const noMounts: Mounter = {
  list: async () => [],
  mount: async () => undefined,
  bind: async () => undefined,
  share: async () => undefined,
  unmount: async () => undefined,
};

/** What the sources add to a manifest. */
function identified(manifest: Pod): Pod {
  const metadata = {
    ...manifest.metadata,
    name: `${manifest.metadata.name}-${node.name}`,
    namespace: manifest.metadata.namespace ?? 'default',
    uid: '0123456789abcdef0123456789abcdef',
    annotations: { 'kubernetes.io/config.source': 'file', ...manifest.metadata.annotations },
  };
  return { ...manifest, metadata, spec: { ...manifest.spec, nodeName: node.name } };
}

async function requests(pod: Pod): Promise<unknown> {
  const root = await realpath(await mkdtemp(`${tmpdir()}/pinpod-golden-`));
  try {
    const deps = { mounter: noMounts, clock: new FakeClock(), random: { next: () => 0 }, log: silentLogger };
    const volumes = new Volumes({ rootDir: root }, deps);
    const podIps = pod.spec.hostNetwork === true ? [] : ['10.88.0.5'];
    const sandbox = buildSandboxConfig(pod, { node, attempt: 0 });
    const imageVolumes = new Map([['model', 'sha256:model']]);
    const containers: unknown[] = [];
    for (const container of allContainers(pod.spec)) {
      const envFiles = await volumes.envFiles(pod, container);
      const mounts = await volumes.mounts(pod, container, { node, attempt: 0, podIps, envFiles, imageVolumes }, options);
      containers.push(
        buildContainerConfig(pod, container, {
          node,
          attempt: 0,
          imageRef: `sha256:${container.name}`,
          imageUser: undefined,
          podIps,
          mounts,
          envFiles,
        }),
      );
    }
    const text = JSON.stringify({ sandbox, containers }, undefined, 2).replaceAll(root, '/var/lib/pinpod');
    return JSON.parse(text);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

for (const file of (await readdir(`${folder}manifests`)).filter((name) => name.endsWith('.yaml'))) {
  test(`golden: ${file} → CRI requests (spec 02, section 4)`, async () => {
    const pod = identified(parse(await readFile(`${folder}manifests/${file}`, 'utf8')) as Pod);
    const path = `${folder}manifests/${file.replace('.yaml', '.requests.golden')}`;
    const actual = await requests(pod);
    if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(path, `${JSON.stringify(actual, undefined, 2)}\n`);
    assert.deepEqual(actual, JSON.parse(await readFile(path, 'utf8')));
  });
}
