import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseSubnet, cniConfigList, conflictingRoute, gatewayAddress, isUsableSubnet, parseRoutes, staleRules } from './network.ts';

const route = (destination: string, device = 'eth0') => ({ destination, device });

describe('subnet conflicts', () => {
  const rows: readonly (readonly [string, string, readonly { destination: string; device: string }[], string | undefined])[] = [
    ['none on an empty machine', '10.125.0.0/16', [], undefined],
    ['the default route takes nothing', '10.125.0.0/16', [route('default')], undefined],
    [
      'a VPN that writes the default route in halves takes nothing',
      '10.125.0.0/16',
      [route('0.0.0.0/1', 'tun0'), route('128.0.0.0/1', 'tun0')],
      undefined,
    ],
    ['the same subnet', '10.125.0.0/16', [route('10.125.0.0/16')], '10.125.0.0/16'],
    ['a wider one', '10.125.0.0/16', [route('10.0.0.0/8', 'vpn')], '10.0.0.0/8'],
    ['a narrower one', '10.125.0.0/16', [route('10.125.77.0/24')], '10.125.77.0/24'],
    ['a single address', '10.125.0.0/16', [route('10.125.3.4')], '10.125.3.4'],
    ['a neighbour below', '10.125.0.0/16', [route('10.124.0.0/16')], undefined],
    ['a neighbour above', '10.125.0.0/16', [route('10.126.0.0/16')], undefined],
    ['our own bridge', '10.125.0.0/16', [route('10.125.0.0/16', 'pinpod0')], undefined],
    ['another family', '10.125.0.0/16', [route('fd00::/8')], undefined],
    ['IPv6, inside', 'fd00:125::/64', [route('fd00::/16')], 'fd00::/16'],
    ['IPv6, beside', 'fd00:125::/64', [route('fd00:126::/64'), route('fe80::/64')], undefined],
    ['IPv6 with an embedded IPv4 address', '::ffff:10.1.0.0/112', [route('::ffff:10.1.2.3')], '::ffff:10.1.2.3'],
    ['the highest addresses', '255.0.0.0/8', [route('255.255.255.255')], '255.255.255.255'],
  ];
  for (const [name, subnet, routes, expected] of rows) {
    it(name, () => assert.equal(conflictingRoute(subnet, routes, 'pinpod0')?.destination, expected));
  }

  it('takes the first free candidate and says why not the others', () => {
    const choice = chooseSubnet(
      ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'],
      [route('10.1.5.0/24', 'docker0'), route('10.2.0.0/15', 'vpn')],
      'b',
    );
    assert.equal(choice.subnet, undefined);
    assert.deepEqual(
      choice.skipped.map((s) => `${s.subnet} ${s.route.device}`),
      ['10.1.0.0/16 docker0', '10.2.0.0/16 vpn', '10.3.0.0/16 vpn'],
    );
    assert.equal(chooseSubnet(['10.1.0.0/16', '10.4.0.0/16'], [route('10.1.5.0/24', 'docker0')], 'b').subnet, '10.4.0.0/16');
  });

  it('reads what `ip -json route show` prints', () => {
    const text =
      '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},{"dst":"172.17.0.0/16","dev":"docker0","flags":["linkdown"]},{"type":"blackhole","dst":"10.9.0.0/24","flags":[]}]';
    assert.deepEqual(parseRoutes(text), [route('default'), route('172.17.0.0/16', 'docker0'), route('10.9.0.0/24', '')]);
    assert.deepEqual(parseRoutes(''), []);
  });
});

describe('subnets', () => {
  it('have their gateway at the first address', () => {
    assert.equal(gatewayAddress('10.125.0.0/16'), '10.125.0.1/16');
    assert.equal(gatewayAddress('10.125.3.7/16'), '10.125.0.1/16');
    assert.equal(gatewayAddress('fd00:125::/112'), 'fd00:125::1/112');
  });
  for (const [text, expected] of [
    ['10.125.0.0/16', true],
    ['10.125.0.0/30', true],
    ['10.125.0.0/31', false],
    ['10.125.0.0', false],
    ['10.125.0.0/33', false],
    ['10.125.0.0/', false],
    ['ten', false],
    ['', false],
    ['fd00::/64', true],
  ] as const) {
    it(`${JSON.stringify(text)} is ${expected ? 'usable' : 'refused'}`, () => assert.equal(isUsableSubnet(text), expected));
  }
});

describe('CNI configuration', () => {
  const network = { name: 'pinpod0', bridge: 'pinpod0', subnet: '10.125.0.0/16', ipv6Subnet: undefined, ipamDir: '/run/x/ipam' };
  const pluginsOf = (text: string) => (JSON.parse(text) as { plugins: Record<string, unknown>[] }).plugins;

  it('is bridge, host-local and portmap', () => {
    const [bridge, portmap] = pluginsOf(cniConfigList(network));
    assert.deepEqual(bridge?.['ipam'], {
      type: 'host-local',
      dataDir: '/run/x/ipam',
      ranges: [[{ subnet: '10.125.0.0/16' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    });
    assert.deepEqual(
      [bridge?.['bridge'], bridge?.['isGateway'], bridge?.['ipMasq'], bridge?.['hairpinMode']],
      ['pinpod0', true, true, true],
    );
    assert.deepEqual(portmap, { type: 'portmap', capabilities: { portMappings: true }, snat: true });
  });

  it('has a second range for IPv6', () => {
    const [bridge] = pluginsOf(cniConfigList({ ...network, ipv6Subnet: 'fd00:125::/112' }));
    const ipam = bridge?.['ipam'] as { ranges: unknown; routes: unknown };
    assert.deepEqual(ipam.ranges, [[{ subnet: '10.125.0.0/16' }], [{ subnet: 'fd00:125::/112' }]]);
    assert.deepEqual(ipam.routes, [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]);
  });
});

describe('left-over iptables rules', () => {
  // As bridge (ipMasq) and portmap of the CNI plugins write them.
  const saved = `*nat
:PREROUTING ACCEPT [0:0]
:CNI-0123456789abcdef01234567 - [0:0]
:CNI-DN-76543210fedcba9876543 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.99.1.5/32 -m comment --comment "name: \\"mine\\" id: \\"abc\\"" -j CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.99.2.5/32 -m comment --comment "name: \\"mine2\\" id: \\"def\\"" -j CNI-ffffffffffffffffffffffff
-A CNI-0123456789abcdef01234567 -d 10.99.1.0/24 -m comment --comment "name: \\"mine\\" id: \\"abc\\"" -j ACCEPT
-A CNI-0123456789abcdef01234567 ! -d 224.0.0.0/4 -m comment --comment "name: \\"mine\\" id: \\"abc\\"" -j MASQUERADE
-A CNI-DN-76543210fedcba9876543 -s 10.99.1.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"mine\\" id: \\"abc\\"" -m multiport --dports 8080 -j CNI-DN-76543210fedcba9876543
COMMIT
`;

  it('are the jumps, then the chains, of that network only', () => {
    const comment = (text: string) => ['-m', 'comment', '--comment', text];
    assert.deepEqual(staleRules(saved, 'nat', 'mine'), [
      ['-t', 'nat', '-D', 'POSTROUTING', '-s', '10.99.1.5/32', ...comment('name: "mine" id: "abc"'), '-j', 'CNI-0123456789abcdef01234567'],
      [
        ...['-t', 'nat', '-D', 'CNI-HOSTPORT-DNAT', '-p', 'tcp', ...comment('dnat name: "mine" id: "abc"')],
        ...['-m', 'multiport', '--dports', '8080', '-j', 'CNI-DN-76543210fedcba9876543'],
      ],
      ['-t', 'nat', '-F', 'CNI-0123456789abcdef01234567'],
      ['-t', 'nat', '-F', 'CNI-DN-76543210fedcba9876543'],
      ['-t', 'nat', '-X', 'CNI-0123456789abcdef01234567'],
      ['-t', 'nat', '-X', 'CNI-DN-76543210fedcba9876543'],
    ]);
  });

  it('are none for a network that has none', () => assert.deepEqual(staleRules(saved, 'nat', 'other'), []));
});
