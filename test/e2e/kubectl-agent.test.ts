// The real kubectl, oldest and newest, against the whole agent on real containerd: every verb that the node's own API has,
// over the fixtures of spec 03 section 8.0. The parts of a version follow each other on one agent.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { cellsOf, Kubectl, type KubectlResult, kubectlVersions, type RunOptions, whyNoKubectl } from '../support/kubectl.ts';
import { checkout, eventually, freePort, nodeName, sourceProgram, TestAgent, uidOf } from '../support/test-agent.ts';

const image = offlineImages.busybox;
const shell = (script: string) => ({ image, imagePullPolicy: 'Never', command: ['sh', '-c', script] });
const fixtures: Readonly<Record<string, Pod>> = {
  web: {
    metadata: { labels: { app: 'web' } },
    spec: {
      initContainers: [{ name: 'init1', ...shell('echo init done') }],
      containers: [
        {
          name: 'httpd',
          ...shell("echo started; echo oops >&2; trap 'exit 0' TERM; httpd -f -p 8081 -h /www & wait"),
          ports: [{ name: 'http', containerPort: 8081 }],
          readinessProbe: { tcpSocket: { port: 'http' } },
        },
        { name: 'side', ...shell("trap 'exit 0' TERM; n=0; while true; do n=$((n+1)); echo line $n; sleep 2 & wait $!; done") },
      ],
    },
  },
  crash: { spec: { containers: [{ name: 'c', ...shell('echo bye; exit 3') }] } },
  done: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', ...shell('echo finished') }] } },
  bad: { spec: { containers: [{ name: 'c', image: '127.0.0.1:1/no/such:1' }] } },
  tty: {
    metadata: { labels: { app: 'tty' } },
    spec: { containers: [{ name: 'sh', image, imagePullPolicy: 'Never', command: ['sh'], stdin: true, tty: true }] },
  },
};

/** `CP_MIB=1024` copies a GiB. */
const mebibytes = Number(process.env['CP_MIB'] ?? 256);

/** The sources, with the flags that bin/pinpod gives to Node: they decide what becomes of memory. */
const asInstalled = (): readonly string[] => {
  const [node = '', main = ''] = sourceProgram;
  const flags = /^exec "\$node" (--.*) "\$bundle"/m.exec(readFileSync(path.join(checkout, 'bin', 'pinpod'), 'utf8'))?.[1];
  assert.ok(flags !== undefined);
  return [node, ...flags.split(' '), main];
};

const sha256 = async (file: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
};

const missing = whyNoContainerd() ?? kubectlVersions.map((version) => whyNoKubectl(version)).find((why) => why !== undefined);

describe('kubectl and the whole agent', { skip: missing }, () => {
  let agent: TestAgent;
  let kubeletPort = 0;

  before(async () => {
    kubeletPort = await freePort();
    agent = new TestAgent({
      kubelet: {
        address: '127.0.0.1',
        port: kubeletPort,
        healthzPort: 0,
        authentication: { webhook: { enabled: false } },
        authorization: { mode: 'AlwaysAllow' },
      },
    });
    await agent.configure();
    for (const [name, { spec, metadata }] of Object.entries(fixtures)) agent.putPod(name, spec, metadata);
    await agent.start(asInstalled());
    await agent.ready('web');
    const isWaiting = (pod: Pod, reason: string): boolean => pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === reason;
    await agent.until('crash', 'in its back-off after a second run', (pod) => {
      return isWaiting(pod, 'CrashLoopBackOff') && pod.status?.containerStatuses?.[0]?.restartCount === 2;
    });
    await agent.until('bad', 'backs off', (pod) => isWaiting(pod, 'ImagePullBackOff') || isWaiting(pod, 'ErrImagePull'));
    await agent.until('done', 'is done', (pod) => pod.status?.phase === 'Succeeded');
  });

  after(async () => {
    await agent?.destroy();
  });

  for (const version of kubectlVersions) {
    describe(`kubectl ${version}`, () => {
      let kubectl: Kubectl;
      const run = (args: readonly string[], options?: RunOptions): Promise<KubectlResult> => kubectl.run(args, options);
      const outOf = ({ code, err, out }: KubectlResult, args: readonly string[]): string => {
        assert.deepEqual([code, err], [0, ''], `kubectl ${args.join(' ')}`);
        return out;
      };
      const out = async (...args: readonly string[]): Promise<string> => outOf(await run(args), args);
      /** The crashing container is made anew and runs for a moment each time its back-off is over: an output of that moment is not asked about. */
      const outBetweenRuns = async (isRun: RegExp, ...args: readonly string[]): Promise<string> => {
        const result = await eventually(agent, 'the crashing container is between two runs', async () => {
          const shown = await run(args);
          return isRun.test(shown.out) ? undefined : shown;
        });
        return outOf(result, args);
      };

      before(() => {
        kubectl = new Kubectl(agent.kubeconfig, version);
      });

      it('C-301 C-302 C-310 C-311 C-312: get prints the tables of Kubernetes', async () => {
        const columns = cellsOf(await outBetweenRuns(/^crash-\S+ +\S+ +(Running|ContainerCreating) /m, 'get', 'pods', '-o', 'wide'));
        assert.deepEqual(columns[0], ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES']);
        const rows = new Map(columns.slice(1).map((row) => [row[0], row]));
        assert.deepEqual([...rows.keys()], ['bad-edge1', 'crash-edge1', 'done-edge1', 'tty-edge1', 'web-edge1']);
        assert.match(rows.get('web-edge1')?.slice(1, 4).join(' ') ?? '', /^2\/2 Running (0|1 \(\w+ ago\))$/);
        assert.deepEqual(rows.get('done-edge1')?.slice(1, 4), ['0/1', 'Completed', '0']);
        assert.match(rows.get('bad-edge1')?.[2] ?? '', /^(ImagePullBackOff|ErrImagePull)$/);
        assert.match(rows.get('crash-edge1')?.slice(2, 4).join(' ') ?? '', /^(CrashLoopBackOff|Error) \d+ \(\d+s ago\)$/);
        assert.match(rows.get('web-edge1')?.slice(4).join(' ') ?? '', /^\w+ 10\.[\d.]+ edge1 <none> <none>$/);
        assert.match(
          await out('get', 'pods', '--show-labels', '-L', 'app', '--no-headers', '-l', 'app=web'),
          /^web-edge1 .* web +app=web\n$/,
        );
        assert.match(
          await out('get', 'pod,node'),
          /^NAME +READY[\s\S]*\npod\/web-edge1 [\s\S]*\n\nNAME +STATUS +ROLES[\s\S]*\nnode\/edge1 /,
        );
        assert.match(await out('get', 'all', '-l', 'app=web'), /^NAME +READY.*\npod\/web-edge1 .*\n$/);
      });

      it('C-306 C-307 C-308 C-309 C-320 C-333: selectors, forms of output, chunks, names', async () => {
        const names = async (...args: readonly string[]): Promise<readonly string[]> =>
          (await out('get', 'pods', '-o', 'name', ...args)).trimEnd().split('\n');
        const all = ['pod/bad-edge1', 'pod/crash-edge1', 'pod/done-edge1', 'pod/tty-edge1', 'pod/web-edge1'];
        assert.deepEqual(await names('--chunk-size=2'), all);
        assert.deepEqual(await names('-A', '--sort-by=.metadata.name'), all);
        assert.deepEqual(await names('-l', 'app in (web,x)'), ['pod/web-edge1']);
        assert.deepEqual(await names('-l', 'app notin (web)'), all.slice(0, 4));
        assert.deepEqual(await names('-l', '!app'), all.slice(0, 3));
        assert.deepEqual(await names('-l', 'app,app!=tty'), ['pod/web-edge1']);
        assert.deepEqual(await names('--field-selector', 'status.phase=Succeeded,spec.nodeName=edge1'), ['pod/done-edge1']);
        assert.match((await run(['get', 'pods', '-l', 'a b'])).err, /unable to parse requirement/);
        assert.equal(await out('get', 'pod', 'web-edge1', '-o', 'jsonpath={.status.phase}'), 'Running');
        assert.equal(await out('get', 'po', 'web-edge1', '-o', 'custom-columns=N:.metadata.name'), 'N\nweb-edge1\n');
        for (const kind of ['po', 'pod', 'pods', 'Pod', 'pods.v1.']) assert.equal(cellsOf(await out('get', kind)).length, 6, kind);
        const pod = JSON.parse(await out('get', 'pod', 'web-edge1', '-o', 'json')) as Pod;
        assert.equal(pod.metadata?.annotations?.['kubernetes.io/config.mirror'], uidOf(pod));
        assert.equal(pod.metadata?.ownerReferences?.[0]?.kind, 'Node');
        const list = JSON.parse(await out('get', 'pods', '-o', 'json')) as { readonly kind: string; readonly items: readonly Pod[] };
        assert.deepEqual([list.kind, new Set(list.items.map((item) => item.kind)).size], ['List', 1]);
        assert.match(await out('get', 'pod', 'web-edge1', '-o', 'yaml'), /^apiVersion: v1\nkind: Pod\nmetadata:\n/);
      });

      it('C-317: get -w tells a manifest that comes and goes', async () => {
        const child = kubectl.start(['get', 'pods', '-w', '--output-watch-events', '--no-headers', '-l', 'app=late']);
        let seen = '';
        child.stdout?.on('data', (data: Buffer) => {
          seen += data.toString();
        });
        const until = (pattern: RegExp) => eventually(agent, `${pattern} in ${seen}`, () => pattern.test(seen) || undefined);
        const spec = { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', ...shell('exec sleep 1000') }] };
        agent.putPod('late', spec, { labels: { app: 'late' } });
        await until(/ADDED +late-edge1 +0\/1 +(Pending|ContainerCreating)/);
        await until(/MODIFIED +late-edge1 +1\/1 +Running/);
        agent.remove('late.json');
        await until(/MODIFIED +late-edge1 +\S+ +(Terminating|Completed|Error)/);
        await until(/DELETED +late-edge1/);
        child.kill();
        await once(child, 'exit');
      });

      it('C-345 C-346: describe pod, word for word', async () => {
        const text = await out('describe', 'pod', 'web-edge1');
        const pod = JSON.parse(await out('get', 'pod', 'web-edge1', '-o', 'json')) as Pod;
        // The names of ports came with 1.34.
        const expected = version === '1.32' ? describedPod.replaceAll(' (http)', '') : describedPod;
        assert.equal(normal(text.slice(0, text.indexOf('Events:')), pod), expected);
        const events = text.slice(text.indexOf('Events:')).split('\n');
        assert.match(events[1] ?? '', /^ {2}Type +Reason +Age +From +Message$/);
        for (const reason of ['Pulled', 'Created', 'Started']) {
          assert.ok(
            events.some((line) => line.includes(` ${reason} `) && line.includes(' kubelet ')),
            reason,
          );
        }
        const reasons = events.flatMap((line) => /^ {2}Normal +(\w+) /.exec(line)?.[1] ?? []);
        assert.deepEqual(
          reasons.slice(0, 3),
          ['Pulled', 'Created', 'Started'],
          'events of one second are in the order in which they were told',
        );
        const crash = await outBetweenRuns(
          /^ +State: +(Running|Waiting\n +Reason: +ContainerCreating)$/m,
          'describe',
          'pod',
          'crash-edge1',
        );
        assert.match(crash, /State: +(Waiting\n +Reason: +CrashLoopBackOff|Terminated\n +Reason: +Error)\n/);
        assert.match(crash, /Last State: +Terminated\n +Reason: +Error\n +Exit Code: +3\n/);
        assert.match(crash, /Restart Count: +\d+\n/);
        assert.match(crash, /Warning +BackOff .*Back-off restarting failed container c in pod crash-edge1_default/);
      });

      it('C-347 C-313 C-314: describe node, its Lease, and the port of the kubelet', async () => {
        const text = await out('describe', 'node', nodeName);
        assert.match(
          text,
          /^Name: +edge1\nRoles: +<none>\nLabels: +[\s\S]*\nLease:\n +HolderIdentity: +edge1\n +AcquireTime: +<unset>\n +RenewTime: +\w/,
        );
        const fine = [
          ['MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
          ['DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
          ['PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
          ['Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'],
        ];
        for (const [type, status, reason, message] of fine) {
          assert.match(text, new RegExp(`\\n  ${type} +${status} .* ${reason} +${message}\\n`));
        }
        assert.match(text, /\nAddresses:\n +InternalIP: +[\d.]+\n(.*\n)* +Hostname: +edge1\nCapacity:\n +cpu: +\d+\n/);
        assert.match(text, /\nNon-terminated Pods: +\(4 in total\)\n/);
        const listed = text.slice(text.indexOf('Non-terminated'), text.indexOf('Allocated resources'));
        assert.deepEqual(
          [...listed.matchAll(/ {2}default +(\S+)-edge1 /g)].map((match) => match[1]),
          ['bad', 'crash', 'tty', 'web'],
        );
        assert.match(text, /\nAllocated resources:\n/);
        assert.equal(
          await out('get', 'node', nodeName, '-o', 'jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}'),
          String(kubeletPort),
        );
        const images = await out('get', 'node', nodeName, '-o', 'jsonpath={.status.images[*].names}');
        assert.ok(images.includes(image), images);
        assert.equal(cellsOf(await out('get', 'nodes', '-o', 'wide'))[0]?.length, 10);
        assert.match(await out('get', 'ns', '--no-headers'), /^default +Active +\w+\nkube-node-lease +Active +\w+\n$/);
        assert.match(await out('get', 'lease', '-n', 'kube-node-lease', '--no-headers'), /^edge1 +edge1 +\w+\n$/);
      });

      it('C-350 … C-352, C-354 … C-359, C-361, C-362: logs', async () => {
        const lines = async (...args: readonly string[]): Promise<readonly string[]> => (await out('logs', ...args)).trimEnd().split('\n');
        assert.deepEqual([...(await lines('web-edge1', '-c', 'httpd'))].sort(), ['oops', 'started']);
        assert.equal((await run(['logs', 'web-edge1', '--tail=0'])).err, 'Defaulted container "httpd" out of: httpd, side, init1 (init)\n');
        assert.equal(await out('logs', 'web-edge1', '-c', 'side', '--tail=0'), '');
        assert.equal((await lines('web-edge1', '-c', 'side', '--tail=2')).length, 2);
        assert.ok((await lines('web-edge1', '-c', 'side', '--since=3s')).length <= 3);
        assert.equal(await out('logs', 'web-edge1', '-c', 'side', `--since-time=${new Date(Date.now() + 60_000).toISOString()}`), '');
        assert.equal((await out('logs', 'web-edge1', '-c', 'side', '--limit-bytes=7')).length, 7);
        const timed = await out('logs', 'web-edge1', '-c', 'side', '--timestamps', '--tail=1');
        assert.match(timed, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|\+\d\d:\d\d) line \d+\n$/);
        assert.equal(await out('logs', 'crash-edge1'), 'bye\n');
        assert.equal(await out('logs', '-p', 'crash-edge1'), 'bye\n');
        assert.equal(await out('logs', 'done-edge1'), 'finished\n');
        const prefixes = (await lines('web-edge1', '--all-containers', '--prefix', '--tail=1')).map((line) => line.split(' ')[0]);
        // kubectl takes the containers in any order.
        assert.deepEqual(prefixes.sort(), ['[pod/web-edge1/httpd]', '[pod/web-edge1/init1]', '[pod/web-edge1/side]']);
        assert.match((await lines('-l', 'app=web', '-c', 'side', '--prefix', '--tail=1')).join(''), /^\[pod\/web-edge1\/side\] line \d+$/);
        const refused = async (args: readonly string[], text: RegExp): Promise<void> => {
          const result = await run(['logs', ...args]);
          assert.equal(result.code, 1);
          assert.match(result.err, text);
        };
        await refused(
          ['-p', 'web-edge1', '-c', 'httpd'],
          /^Error from server \(BadRequest\): previous terminated container "httpd" in pod "web-edge1" not found\n$/,
        );
        await refused(
          ['bad-edge1'],
          /container "c" in pod "bad-edge1" is waiting to start: (trying and failing to pull image|image can't be pulled)\n$/,
        );
        await refused(['nope'], /^error: error from server \(NotFound\): pods "nope" not found in namespace "default"\n$/);
        await refused(['web-edge1', '-c', 'nope'], /^error: container nope is not valid for pod web-edge1/);
        await refused(['web-edge1', '--tail=-5', '-c', 'side'], /^error: --tail must be greater than or equal to -1\n$/);
      });

      it('C-353: logs -f goes on, and ends with the container', { timeout: 40_000 }, async () => {
        const child = kubectl.start(['logs', '-f', 'web-edge1', '-c', 'side', '--tail=1']);
        let seen = '';
        child.stdout?.on('data', (data: Buffer) => {
          seen += data.toString();
        });
        await eventually(agent, 'two lines', () => seen.split('\n').length > 2 || undefined);
        const web = await agent.ready('web');
        const side = (await agent.containers(uidOf(web))).find((c) => c.name === 'side' && c.state === 'running');
        const exited = once(child, 'exit');
        await agent.killContainer(side?.id ?? '');
        assert.equal((await exited)[0], 0);
        await agent.ready(
          'web',
          (pod) => pod.status?.containerStatuses?.some((c) => c.name === 'side' && c.restartCount > (side?.attempt ?? 0)) === true,
        );
        assert.match(await out('logs', '-p', 'web-edge1', '-c', 'side', '--tail=1'), /^line \d+\n$/);
      });

      for (const [transport, env] of [
        ['WebSocket', {}],
        ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' }],
      ] as const) {
        it(`C-370 … C-378: exec over ${transport}`, async () => {
          const exec = (...args: readonly string[]) => run(['exec', ...args], { env });
          assert.equal((await exec('web-edge1', '-c', 'side', '--', 'echo', 'hi')).out, 'hi\n');
          const failed = await exec('web-edge1', '-c', 'side', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3');
          assert.deepEqual([failed.code, failed.out], [3, 'out\n']);
          assert.match(failed.err, /^err\n(?:.*\n)*command terminated with exit code 3\n$/);
          const data = randomBytes(10 << 20);
          const sum = await run(['exec', '-i', 'web-edge1', '-c', 'side', '--', 'sha256sum'], { env, input: data });
          assert.equal(sum.out.split(' ')[0], createHash('sha256').update(data).digest('hex'));
          assert.match((await exec('web-edge1', '-c', 'side', '--', 'nosuch')).err, /executable file not found in \$PATH/);
          assert.deepEqual((await exec('crash-edge1', '--', 'ls')).err, 'error: unable to upgrade connection: container not found ("c")\n');
          assert.match(
            (await exec('done-edge1', '--', 'ls')).err,
            /cannot exec into a container in a completed pod; current phase is Succeeded/,
          );
          assert.match((await exec('web-edge1', '-c', 'nope', '--', 'ls')).err, /container nope is not valid for pod web-edge1/);
        });

        it(`C-390 C-392 C-394: port-forward over ${transport}`, async () => {
          const child = kubectl.start(['port-forward', 'pod/web-edge1', ':http', ':9'], env);
          let said = '';
          for (const stream of [child.stdout, child.stderr]) {
            stream?.on('data', (data: Buffer) => {
              said += data.toString();
            });
          }
          const portOf = (target: string) =>
            eventually(
              agent,
              `forwarding of ${target} in ${said}`,
              () => new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${target}\\n`).exec(said)?.[1],
            );
          const [open, closed] = [await portOf('8081'), await portOf('9')];
          const bodies = await Promise.all(Array.from({ length: 20 }, async () => (await fetch(`http://127.0.0.1:${open}/`)).text()));
          assert.equal(new Set(bodies).size, 1);
          assert.match(said, new RegExp(`Handling connection for ${open}`));
          await assert.rejects(fetch(`http://127.0.0.1:${closed}/`));
          await eventually(agent, 'the refusal is told', () => /error forwarding port[\s\S]*connection refused/.test(said) || undefined);
          child.kill();
        });
      }

      it('C-373: exec -it is a terminal: its size, changes of it, the exit code', { skip: whyNoScript() }, async () => {
        // The size comes soon after the start, but after it.
        const remote =
          'tty; until [ "$(stty size 2>&1)" = "33 99" ]; do sleep 0.1; done; trap "stty size; exit 7" WINCH; stty size; while true; do sleep 0.1; done';
        const terminal = openTerminal(
          kubectl,
          `stty rows 33 cols 99; tty=$(tty); (until grep -q "33 99" $LOG; do sleep 0.1; done; stty rows 40 cols 120 < $tty) &
           "$@" exec -it web-edge1 -c side -- sh -c '${remote}'; echo code $?`,
        );
        await terminal.ended;
        assert.match(terminal.text(), /\/dev\/pts\/\d+\r\n33 99\r\n40 120\r\ncommand terminated with exit code 7\r\ncode 7\r\n/);
      });

      it('C-373: Ctrl-C reaches the process in the container', { skip: whyNoScript() }, async () => {
        const remote = 'trap "echo interrupted; exit 9" INT; echo rea""dy; while true; do sleep 0.1; done';
        const terminal = openTerminal(kubectl, `"$@" exec -it web-edge1 -c side -- sh -c '${remote}'; echo code $?`);
        await eventually(agent, 'it runs', () => terminal.text().includes('ready\r\n') || undefined);
        terminal.type('\x03');
        await terminal.ended;
        assert.match(terminal.text(), /interrupted\r\ncommand terminated with exit code 9\r\ncode 9\r\n/);
      });

      it('C-379: attach -it to a shell; hanging up leaves the container', { skip: whyNoScript() }, async () => {
        const before = (await agent.running(uidOf(await agent.ready('tty')))).id;
        const terminal = openTerminal(kubectl, '"$@" attach -it tty-edge1');
        await eventually(agent, 'it is attached', () => terminal.text().includes("If you don't see a command prompt") || undefined);
        terminal.type('echo $((6*7)) $(tty)\r');
        await eventually(agent, 'the shell answers', () => /\n42 \/dev\/\S+\r\n/.test(terminal.text()) || undefined);
        terminal.hangUp();
        await terminal.ended;
        assert.equal((await agent.running(uidOf(await agent.ready('tty')))).id, before);
      });

      it('C-395: cp of a tree with links', async () => {
        const dir = path.join(agent.dir, `cp-${version}`);
        mkdirSync(path.join(dir, 'tree', 'sub'), { recursive: true });
        for (let i = 0; i < 1000; i++) writeFileSync(path.join(dir, 'tree', 'sub', `f${i}`), `${i}\n`);
        symlinkSync('sub/f1', path.join(dir, 'tree', 'link'));
        await out('cp', path.join(dir, 'tree'), `web-edge1:/tmp/tree-${version}`, '-c', 'side');
        const list = await out(
          'exec',
          'web-edge1',
          '-c',
          'side',
          '--',
          'sh',
          '-c',
          `cd /tmp/tree-${version}; readlink link; ls sub | wc -l; cat sub/f999`,
        );
        assert.equal(list, 'sub/f1\n1000\n999\n');
        const down = await run(['cp', `web-edge1:/tmp/tree-${version}/sub`, path.join(dir, 'back'), '-c', 'side']);
        assert.equal(down.code, 0);
        assert.equal(readFileSync(path.join(dir, 'back', 'f999'), 'utf8'), '999\n');
      });

      it('C-400 C-401 C-403: wait', async () => {
        assert.equal(await out('wait', '--for=condition=Ready', 'pod/web-edge1', '--timeout=5s'), 'pod/web-edge1 condition met\n');
        assert.equal(await out('wait', '--for=condition=Ready', 'pod', '-l', 'app=web', '--timeout=5s'), 'pod/web-edge1 condition met\n');
        assert.equal(
          await out('wait', '--for=jsonpath={.status.phase}=Running', 'pod/web-edge1', '--timeout=5s'),
          'pod/web-edge1 condition met\n',
        );
        const late = await run(['wait', '--for=condition=Ready', 'pod/crash-edge1', '--timeout=1s']);
        assert.deepEqual([late.code, late.err], [1, 'error: timed out waiting for the condition on pods/crash-edge1\n']);
        agent.putPod('brief', { containers: [{ name: 'c', ...shell("trap 'exit 0' TERM; sleep 1000 & wait") }] });
        await agent.ready('brief');
        const gone = run(['wait', '--for=delete', 'pod/brief-edge1', '--timeout=20s']);
        agent.remove('brief.json');
        assert.deepEqual([(await gone).code, (await gone).err], [0, '']);
      });

      it('C-315 C-423 C-430 C-431: events and top', async () => {
        const table = cellsOf(await out('get', 'events', '--field-selector', 'involvedObject.name=web-edge1,reason=Started'));
        assert.deepEqual(table[0], ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE']);
        assert.deepEqual(table[1]?.slice(1, 4), ['Normal', 'Started', 'pod/web-edge1']);
        const events = cellsOf(await out('events', '--for', 'pod/crash-edge1', '--types=Warning'));
        assert.ok(events.some((row) => row[2] === 'BackOff' && row[3] === 'Pod/crash-edge1'));
        const rows = await eventually(agent, 'usage was measured', async () => {
          const pods = await run(['top', 'pod', '--containers', '--no-headers']);
          return pods.out.includes('side') ? pods.out : undefined;
        });
        assert.match(rows, /^web-edge1 +side +\d+m +\d+Mi *$/m);
        assert.match(await out('top', 'pod', 'web-edge1'), /^NAME +CPU\(cores\) +MEMORY\(bytes\) *\nweb-edge1 +\d+m +\d+Mi *\n$/);
        assert.match(await out('top', 'node'), /\nedge1 +\d+m +\d+% +\d+Mi +\d+% *\n$/);
      });

      it('C-319 C-332 C-334 C-335 C-336 C-337 C-338: what the server has and is', async () => {
        assert.equal(await out('get', '--raw', '/readyz'), 'ok');
        assert.match(await out('get', '--raw', '/metrics'), /^kubelet_node_name\{node="edge1"\} 1$/m);
        const summary = JSON.parse(await out('get', '--raw', `/api/v1/nodes/${nodeName}/proxy/stats/summary`)) as {
          readonly node: { readonly nodeName: string };
        };
        assert.equal(summary.node.nodeName, nodeName, 'H-313');
        const resources = await out('api-resources', '--no-headers');
        for (const line of [/^pods +po +v1 +true +Pod$/m, /^nodes +no +v1 +false +Node$/m, /^events +ev +v1 +true +Event$/m])
          assert.match(resources, line);
        assert.match(await out('api-versions'), /(^|\n)v1\n$/);
        assert.match(await out('explain', 'pod.spec.hostNetwork'), /^KIND: +Pod\nVERSION: +v1\n\nFIELD: hostNetwork <boolean>\n/);
        assert.match(await out('explain', 'pod', '--recursive'), /\n {4}containers\t<\[\]Container> -required-\n {6}args\t<\[\]string>\n/);
        const nope = await run(['explain', 'pod.nope']);
        assert.deepEqual([nope.code, nope.err], [1, 'error: field "nope" does not exist\n']);
        assert.equal(await out('auth', 'can-i', 'get', 'pods'), 'yes\n');
        assert.equal((await run(['auth', 'can-i', 'create', 'pods'])).code, 1);
        assert.match((await run(['auth', 'can-i', 'create', 'deployments.apps'])).out, /^no/);
        assert.match(await out('auth', 'can-i', '--list'), /^Resources +Non-Resource URLs +Resource Names +Verbs\n/);
        assert.match(await out('auth', 'whoami'), /Username +pinpod-admin\nGroups +\[system:masters system:authenticated\]/);
        assert.match((await run(['version'])).out, /\nServer Version: v1\.\d+\.\d+.*\n$/);
        assert.match(await out('cluster-info'), /Kubernetes control plane.* is running at .*https:\/\/127\.0\.0\.1:\d+/);
      });

      it('C-410 C-348: delete takes the view only: same container, same restart count, new age, same events', async () => {
        const identity = async () => {
          const pod = JSON.parse(await out('get', 'pod', 'web-edge1', '-o', 'json')) as Pod;
          const containers = pod.status?.containerStatuses?.map((c) => `${c.name} ${c.containerID} ${c.restartCount}`);
          return {
            uid: pod.metadata?.uid,
            created: Date.parse(pod.metadata?.creationTimestamp ?? ''),
            containers,
            phase: pod.status?.phase,
          };
        };
        const before = await identity();
        const deleted = await run(['delete', 'pod', 'web-edge1'], { timeoutMs: 5000 });
        assert.deepEqual(
          [deleted.code, deleted.err],
          [0, 'Warning: static pod: containers keep running; remove its manifest to stop it\n'],
        );
        assert.equal(deleted.out, version === '1.32' ? 'pod "web-edge1" deleted\n' : 'pod "web-edge1" deleted from default namespace\n');
        const now = await identity();
        assert.deepEqual(now.containers, before.containers);
        assert.notEqual(now.uid, before.uid);
        assert.ok(now.created > before.created, 'a new age');
        assert.equal(now.phase, 'Running');
        assert.match(await out('describe', 'pod', 'web-edge1'), /\n +Normal +Started /);
      });

      const refused: readonly (readonly string[])[] = [
        ['create', '-f', '-'],
        ['apply', '-f', '-'],
        ['replace', '-f', '-'],
        ['label', 'pod', 'web-edge1', 'a=b'],
        ['patch', 'pod', 'web-edge1', '-p', '{"metadata":{"labels":{"a":"b"}}}'],
        ['edit', 'pod', 'web-edge1'],
        ['debug', 'web-edge1', '--image=x'],
      ];
      for (const args of refused) {
        it(`C-420: ${args.slice(0, 2).join(' ')} is refused, and the file to edit is named`, async () => {
          const input = 'apiVersion: v1\nkind: Pod\nmetadata: {name: web-edge1}\nspec: {containers: [{name: c, image: x}]}\n';
          const result = await run(args, { input, env: { KUBE_EDITOR: 'sed -i s/side/other/' } });
          assert.equal(result.code, 1);
          assert.match(result.err, /this node runs static pods only/);
          assert.ok(result.err.includes(args[0] === 'create' ? agent.folder : path.join(agent.folder, 'web.json')), result.err);
        });
      }

      it('C-316 C-421 C-422: what is not there is not found, as Kubernetes says it', async () => {
        const not = 'error: the server doesn\'t have a resource type "deploy"\n';
        for (const args of [
          ['get', 'deploy'],
          ['rollout', 'status', 'deploy/x'],
          ['scale', 'deploy/x', '--replicas=1'],
        ]) {
          assert.deepEqual(await run(args), { code: 1, out: '', err: not }, args.join(' '));
        }
        assert.equal((await run(['create', 'deployment', 'd', '--image=x'])).code, 1);
        assert.match((await run(['cordon', nodeName])).err, /unable to cordon node "edge1": nodes "edge1" is forbidden/);
      });
    });
  }

  it(`C-395: ${mebibytes} MiB each way are identical, and the agent stays as small as it was`, async () => {
    const kubectl = new Kubectl(agent.kubeconfig);
    const up = path.join(agent.dir, 'up');
    const down = path.join(agent.dir, 'down');
    const part = randomBytes(1 << 20);
    const file = createWriteStream(up);
    for (let i = 0; i < mebibytes; i++) {
      part.writeUInt32BE(i, 0);
      if (!file.write(Buffer.from(part))) await once(file, 'drain');
    }
    file.end();
    await once(file, 'close');
    const peak = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) * 1024;
    const before = peak();
    assert.equal((await kubectl.run(['cp', up, 'web-edge1:/tmp/big', '-c', 'side'], { timeoutMs: 60_000 })).code, 0);
    assert.equal((await kubectl.run(['cp', 'web-edge1:/tmp/big', down, '-c', 'side'], { timeoutMs: 60_000 })).code, 0);
    assert.equal(await sha256(down), await sha256(up));
    assert.ok(peak() - before < 64 << 20, `the agent grew by ${(peak() - before) >> 20} MiB`);
    rmSync(up);
  });
});

/** Why nothing can be run in a terminal here. */
function whyNoScript(): string | undefined {
  return !existsSync('/usr/bin/script') ? 'script is missing: apt-get install bsdutils' : undefined;
}

interface Terminal {
  /** What it shows so far. */
  text(): string;
  type(keys: string): void;
  hangUp(): void;
  readonly ended: Promise<unknown>;
}

/** A terminal in which `script` runs with kubectl as `"$@"`; what it shows grows in the file `$LOG`. */
function openTerminal(kubectl: Kubectl, script: string): Terminal {
  const { program, env, home } = kubectl;
  const log = path.join(home, 'typescript');
  const body = path.join(home, 'body.sh');
  writeFileSync(body, script);
  writeFileSync(log, '');
  const child = spawn('script', ['-q', '-e', '-f', '-c', `sh ${body} ${program}`, log], {
    env: { ...env, LOG: log },
    stdio: ['pipe', 'ignore', 'inherit'],
    timeout: 30_000,
  });
  return {
    // `script` types a NUL when its own input ends, and the terminal in the container shows it.
    text: () => readFileSync(log, 'utf8').replaceAll('^@', ''),
    type: (keys) => void child.stdin.write(keys),
    hangUp: () => void child.kill('SIGTERM'),
    ended: once(child, 'exit'),
  };
}

/** What differs from run to run becomes a word. */
function normal(text: string, pod: Pod): string {
  const ids = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].flatMap((c) => [
    c.containerID ?? '',
    c.imageID,
  ]);
  let result = text.replaceAll(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}/g, '<time>').replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
  for (const id of ids) result = result.replaceAll(id, '<id>');
  result = result
    .replaceAll(uidOf(pod), '<uid>')
    .replaceAll(pod.status?.podIP ?? '-', '<ip>')
    .replaceAll(pod.status?.hostIP ?? '-', '<host>');
  // After `side` was killed it has a past.
  return result.replace(/ {4}Last State: +Terminated\n(?: {6}\S.*\n)+/, '').replace(/(side:[\s\S]*Restart Count: +)\d+/, '$10');
}

const describedPod = `Name:         web-edge1
Namespace:    default
Priority:     0
Node:         edge1/<host>
Start Time:   <time>
Labels:       app=web
Annotations:  kubernetes.io/config.hash: <uid>
              kubernetes.io/config.mirror: <uid>
              kubernetes.io/config.seen: <time>
              kubernetes.io/config.source: file
Status:       Running
IP:           <ip>
IPs:
  IP:           <ip>
Controlled By:  Node/edge1
Init Containers:
  init1:
    Container ID:  <id>
    Image:         ${image}
    Image ID:      <id>
    Port:          <none>
    Host Port:     <none>
    Command:
      sh
      -c
      echo init done
    State:          Terminated
      Reason:       Completed
      Exit Code:    0
      Started:      <time>
      Finished:     <time>
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Containers:
  httpd:
    Container ID:  <id>
    Image:         ${image}
    Image ID:      <id>
    Port:          8081/TCP (http)
    Host Port:     0/TCP (http)
    Command:
      sh
      -c
      echo started; echo oops >&2; trap 'exit 0' TERM; httpd -f -p 8081 -h /www & wait
    State:          Running
      Started:      <time>
    Ready:          True
    Restart Count:  0
    Readiness:      tcp-socket :http delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:    <none>
    Mounts:         <none>
  side:
    Container ID:  <id>
    Image:         ${image}
    Image ID:      <id>
    Port:          <none>
    Host Port:     <none>
    Command:
      sh
      -c
      trap 'exit 0' TERM; n=0; while true; do n=$((n+1)); echo line $n; sleep 2 & wait $!; done
    State:          Running
      Started:      <time>
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type                        Status
  PodReadyToStartContainers   True 
  Initialized                 True 
  Ready                       True 
  ContainersReady             True 
  PodScheduled                True 
Volumes:                      <none>
QoS Class:                    BestEffort
Node-Selectors:               <none>
Tolerations:                  :NoExecute op=Exists
`;
