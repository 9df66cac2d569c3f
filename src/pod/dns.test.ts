import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildPod } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { type BuildWarning, checkResolvConfLimits, dnsConfigOf, parseResolvConf } from './dns.ts';
import type { NodeFacts } from './node-facts.ts';

function dns(spec: Partial<PodSpec>, node: Partial<NodeFacts> = {}) {
  const warnings: BuildWarning[] = [];
  const problems: string[] = [];
  const config = dnsConfigOf(buildPod(spec), buildNode(node), warnings, problems);
  return { config, warnings, problems };
}

const host = { servers: ['192.0.2.53'], searches: ['lan.example'], options: ['timeout:2', 'attempts:3'] };
const cluster = { clusterDns: ['10.96.0.10'], clusterDomain: 'cluster.local' };
const inCluster = {
  servers: ['10.96.0.10'],
  searches: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'lan.example'],
  options: ['ndots:5'],
};

for (const [title, spec, node, expected] of [
  ['Default', { dnsPolicy: 'Default' }, cluster, host],
  ['ClusterFirst', { dnsPolicy: 'ClusterFirst' }, cluster, inCluster],
  ['an unknown policy (L-208)', { dnsPolicy: 'Nonsense' }, cluster, inCluster],
  ['ClusterFirst on the node’s network', { dnsPolicy: 'ClusterFirst', hostNetwork: true }, cluster, host],
  ['ClusterFirstWithHostNet', { dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }, cluster, inCluster],
  ['None', { dnsPolicy: 'None' }, cluster, { servers: [], searches: [], options: [] }],
  [
    'ClusterFirst without a domain',
    {},
    { clusterDns: ['10.96.0.10'] },
    { servers: ['10.96.0.10'], searches: ['lan.example'], options: ['ndots:5'] },
  ],
  [
    'Default without a resolver file',
    { dnsPolicy: 'Default' },
    { resolvConf: undefined, ips: ['192.0.2.7', '2001:db8::7'] },
    { servers: ['127.0.0.1', '::1'], searches: ['.'], options: [] },
  ],
  [
    'Default, nothing known',
    { dnsPolicy: 'Default' },
    { resolvConf: undefined, ips: [] },
    { servers: ['127.0.0.1'], searches: ['.'], options: [] },
  ],
] as const) {
  test(`L-204 … L-208, C-353 ${title}`, () => {
    assert.deepEqual(dns(spec, node), { config: expected, warnings: [], problems: [] });
  });
}

test('L-207, C-353 ClusterFirst without cluster DNS falls back with a warning', () => {
  const { config, warnings } = dns({ dnsPolicy: 'ClusterFirst' });
  assert.deepEqual(config, host);
  assert.deepEqual(warnings, [
    {
      reason: 'MissingClusterDNS',
      message:
        'pod: "web-node1_default(uid-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.',
    },
  ]);
});

test('L-209, C-353 dnsConfig adds without duplicates, options by name', () => {
  const { config } = dns({
    dnsPolicy: 'Default',
    dnsConfig: {
      nameservers: ['192.0.2.53', '192.0.2.54'],
      searches: ['lan.example', 'more.example'],
      options: [{ name: 'timeout', value: '5' }, { name: 'edns0' }],
    },
  });
  assert.deepEqual(config.servers, ['192.0.2.53', '192.0.2.54']);
  assert.deepEqual(config.searches, ['lan.example', 'more.example']);
  assert.deepEqual([...config.options].sort(), ['attempts:3', 'edns0', 'timeout:5']);
});

test('L-210, C-353 limits are cut and warned of', () => {
  const many = Array.from({ length: 40 }, (_, index) => `d${index}.example`);
  const { config, warnings } = dns({
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['1.1.1.1', '2.2.2.2', '3.3.3.3', '4.4.4.4'], searches: ['x'.repeat(254), ...many] },
  });
  assert.deepEqual(config.servers, ['1.1.1.1', '2.2.2.2', '3.3.3.3']);
  assert.deepEqual(config.searches, many.slice(0, 32));
  const forming = 'DNSConfigForming';
  const servers = 'some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3';
  const searches = `some search paths have been omitted, the applied search line is: ${many.slice(0, 32).join(' ')}`;
  assert.deepEqual(warnings, [
    { reason: forming, message: `Nameserver limits were exceeded, ${servers}` },
    { reason: forming, message: `Search Line limits were exceeded, ${searches}` },
  ]);
});

test('L-210 the joined search line has at most 2048 characters', () => {
  const long = Array.from({ length: 12 }, (_, index) => `${String(index).padStart(2, '0')}${'x'.repeat(198)}`);
  const { config } = dns({ dnsPolicy: 'None', dnsConfig: { searches: long } });
  assert.equal(config.searches.length, 10);
});

test('L-203 parsing: comments, the last search line, dots, options by name, other keywords', () => {
  const text =
    '# c\ndomain x.example\nnameserver  1.1.1.1 # c\nsearch a.\nsearch b. . c\noptions ndots:1 rotate\noptions ndots:3\nsortlist 1\n';
  assert.deepEqual(parseResolvConf(text, []), { servers: ['1.1.1.1'], searches: ['b', 'c'], options: ['ndots:3', 'rotate'] });
});

test('L-203 a nameserver line without a value is a problem', () => {
  assert.equal(dns({ dnsPolicy: 'Default' }, { resolvConf: 'nameserver\n' }).problems.length, 1);
});

test('L-211 the node’s own file is checked, less three paths with a cluster domain', () => {
  const searches = (count: number): string => `search ${Array.from({ length: count }, (_, index) => `d${index}`).join(' ')}\n`;
  assert.equal(checkResolvConfLimits({ resolvConf: searches(32), clusterDomain: '' }), undefined);
  assert.equal(checkResolvConfLimits({ resolvConf: searches(32), clusterDomain: 'x' })?.reason, 'CheckLimitsForResolvConf');
  assert.equal(checkResolvConfLimits({ resolvConf: 'nameserver 1\n'.repeat(4), clusterDomain: '' })?.reason, 'CheckLimitsForResolvConf');
});

test('a resolver that only the machine itself can ask is told', () => {
  const reason = (resolvConf: string): string | undefined => checkResolvConfLimits({ resolvConf, clusterDomain: '' })?.reason;
  assert.equal(reason('nameserver 127.0.0.1\nnameserver ::1\n'), 'LoopbackNameserver');
  assert.equal(reason('nameserver 127.0.0.1\nnameserver 192.0.2.1\n'), undefined);
  assert.equal(reason('search lan\n'), undefined);
});
