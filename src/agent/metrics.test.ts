import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantError } from '../std/errors.ts';
import { declareNode, PrometheusMetrics } from './metrics.ts';

const build = {
  nodeName: 'node1',
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+pinpod',
  gitCommit: 'abc',
  buildDate: '2026-01-01T00:00:00Z',
  platform: 'linux/amd64',
  engine: 'node v24',
};

test('who we are and what our process uses (H-360, H-410, H-414)', async () => {
  const metrics = new PrometheusMetrics();
  metrics.declareProcess(build);
  const text = await metrics.expose('agent');
  assert.match(text, /^kubelet_node_name\{node="node1"\} 1$/m);
  assert.match(text, /^kubernetes_build_info\{[^}]*git_version="v1\.36\.0\+pinpod"[^}]*platform="linux\/amd64"[^}]*\} 1$/m);
  for (const family of [
    'process_cpu_seconds_total',
    'process_open_fds',
    'process_max_fds',
    'process_resident_memory_bytes',
    'process_start_time_seconds',
  ])
    assert.match(text, new RegExp(`^${family} \\d`, 'm'), family);
});

test('a runtime that does not say its cgroup driver is too old for the kubelet after this one (H-400, H-401, H-402)', async () => {
  for (const saysDriver of [true, false]) {
    const metrics = new PrometheusMetrics();
    declareNode(metrics, 2, saysDriver);
    const text = await metrics.expose('agent');
    assert.match(text, /^kubelet_cgroup_version 2$/m);
    assert.match(text, /^kubelet_metrics_provider\{provider="cri"\} 1$/m);
    assert.equal(/^kubelet_cri_losing_support\{version="1\.37\.0"\} 1$/m.test(text), !saysDriver);
  }
});

test('labels are sorted, whatever is in them (H-350)', async () => {
  const metrics = new PrometheusMetrics();
  const strange = 'a",z="\\} {\n';
  metrics.counter({ name: 'strange_total', help: 'h', labels: ['z', 'a'] }).inc({ z: 'last', a: strange });
  metrics.histogram({ name: 'seconds', help: 'h', labels: ['b'], buckets: [1] }).observe(2, { b: 'x' });
  const text = await metrics.expose('agent');
  assert.match(text, /^strange_total\{a="a\\",z=\\"\\\\\} \{\\n",z="last"\} 1$/m);
  assert.match(text, /^seconds_bucket\{b="x",le="1"\} 0\nseconds_bucket\{b="x",le="\+Inf"\} 1$/m);
});

test('a family without labels is there with 0 from the first, one with labels with its first series (H-351)', async () => {
  const metrics = new PrometheusMetrics();
  metrics.counter({ name: 'plain_total', help: 'h' });
  const labelled = metrics.counter({ name: 'labelled_total', help: 'h', labels: ['code'] });
  assert.equal(await metrics.expose('agent'), '# HELP plain_total h\n# TYPE plain_total counter\nplain_total 0\n');
  labelled.inc({ code: '1' });
  assert.match(await metrics.expose('agent'), /^labelled_total\{code="1"\} 1$/m);
  labelled.remove({ code: '1' });
  assert.doesNotMatch(await metrics.expose('agent'), /labelled/);
});

test('a family is one and the same wherever it is declared, but only in one shape', () => {
  const metrics = new PrometheusMetrics();
  const first = metrics.counter({ name: 'a_total', help: 'h', labels: ['x'] });
  assert.equal(metrics.counter({ name: 'a_total', help: 'h', labels: ['x'] }), first);
  assert.throws(() => metrics.gauge({ name: 'a_total', help: 'h', labels: ['x'] }), InvariantError);
  assert.throws(() => metrics.counter({ name: 'a_total', help: 'h' }), InvariantError);
});
