// The bundle on every Node it is promised for: its commands, and one agent after the other on the same folders, as
// upgrades and downgrades of Node are. The Pod must not notice any of them (D2).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { Exec, KubeConfig } from '@kubernetes/client-node';
import type WebSocket from 'ws';
import { parse } from 'yaml';
import { nodeProgram, otherNodes } from '../../scripts/setup/nodes.ts';
import { bundleProgram } from '../support/bundle.ts';
import { whyNoContainerd } from '../support/containerd.ts';
import { checkout, eventually, nodeName, runPinpod, TestAgent, uidOf } from '../support/test-agent.ts';

const nodes = [
  ...otherNodes.map((version) => ({ version, node: nodeProgram(checkout, version) })),
  { version: "the checkout's own", node: path.join(checkout, 'node_modules', '.bin', 'node') },
].map((entry) => ({ ...entry, skip: existsSync(entry.node) ? false : `${entry.node} is missing: run npm run setup -- --test` }));

describe('the commands of the bundle', { concurrency: 2 }, () => {
  for (const { version, node, skip } of nodes) {
    it(`on Node ${version}`, { skip }, async () => {
      const program = await bundleProgram(node);
      const valid = await runPinpod(program, ['validate', path.join(checkout, 'examples')]);
      assert.deepEqual([valid.code, valid.err], [0, '1 manifest checked, 0 with problems\n']);
      const config = await runPinpod(program, ['config', '--hostname-override', nodeName]);
      assert.deepEqual([config.code, config.err], [0, '']);
      assert.match(config.out, /^nodeName: "edge1" {2}# /m);
      const silent = await runPinpod(program, ['get', 'pods', '--run-dir', '/tmp/there-is-no-agent']);
      assert.deepEqual([silent.code, silent.out], [1, '']);
    });
  }
});

/** What kubectl would use: the client certificate of the kubeconfig, over TLS. */
function askOverTls(kubeconfig: string, target: string): Promise<string> {
  const config = parse(readFileSync(kubeconfig, 'utf8')) as {
    readonly clusters: readonly [{ readonly cluster: Readonly<Record<string, string>> }];
    readonly users: readonly [{ readonly user: Readonly<Record<string, string>> }];
  };
  const { cluster } = config.clusters[0];
  const { user } = config.users[0];
  const pem = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64');
  return new Promise((resolve, reject) => {
    request(
      `${cluster['server']}${target}`,
      {
        ca: pem(cluster['certificate-authority-data']),
        cert: pem(user['client-certificate-data']),
        key: pem(user['client-key-data']),
        agent: false,
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve(`${response.statusCode} ${body}`));
      },
    )
      .on('error', reject)
      .end();
  });
}

/** Through everything of the bundle that streams: `ws`, and our own SPDY behind it. */
async function execOverWebSocket(kubeconfig: string, command: string[]): Promise<string> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const out = new PassThrough();
  let text = '';
  out.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const socket = await new Exec(config).exec('default', `static-web-${nodeName}`, 'web', command, out, null, null, false);
  await once(socket as unknown as WebSocket, 'close');
  return text;
}

describe('D2: one agent after the other on another Node', { skip: whyNoContainerd() ?? false }, () => {
  let agent: TestAgent;
  before(async () => {
    agent = new TestAgent();
    await agent.configure();
    agent.put('web.yaml', readFileSync(path.join(checkout, 'examples', 'static-web.yaml')));
  });
  after(() => agent.destroy());

  let first: string | undefined;
  for (const { version, node, skip } of [...nodes, ...nodes.slice(0, 1)]) {
    it(`Node ${version}`, { skip }, async () => {
      await agent.start(await bundleProgram(node));
      const pod = await agent.ready('static-web');
      const { id } = await agent.running(uidOf(pod));
      first ??= id;
      assert.equal(id, first, 'the container is still the first one');
      assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0);
      const listed = await agent.cli('get', 'pods');
      assert.match(listed.out, /static-web-edge1 +1\/1 +Running +0 /);
      await eventually(agent, 'the kubeconfig is written', () => existsSync(agent.kubeconfig) || undefined);
      assert.match(await askOverTls(agent.kubeconfig, '/api/v1/nodes/edge1'), /^200 .*"name":"edge1"/);
      assert.equal(await execOverWebSocket(agent.kubeconfig, ['echo', 'hi']), 'hi\n');
      assert.equal(await agent.end('SIGTERM'), 0, 'an orderly stop');
    });
  }
});
