// Ably's own JavaScript library, judging the stand-in for Ably that the
// translator's tests rely on. Usage: node ably.mjs msgpack|json
import Ably from 'ably'

const [host, port] = process.env.ABLY_ADDR.split(':')
const key = process.env.ABLY_KEY
const control = process.env.ABLY_CONTROL
const binary = process.argv[2] === 'msgpack'

const options = (more) => ({
  key, useTokenAuth: true, endpoint: host, port: Number(port), tls: false, useBinaryProtocol: binary,
  transports: ['web_socket'], disconnectedRetryTimeout: 200, fallbackHosts: [], logLevel: 0, ...more,
})
const clients = []
const realtime = async (more) => {
  const client = new Ably.Realtime(options(more))
  clients.push(client)
  await within(client.connection.whenState('connected'), 'connected')
  return client
}
const fault = async (name) => {
  const answer = await fetch(`${control}/${name}`, { method: 'POST' })
  if (!answer.ok) throw new Error(`fault ${name}: ${answer.status}`)
}

function within(promise, what, ms = 15000) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const equal = (got, want, what) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)]
  if (g !== w) throw new Error(`${what}: got ${g}, want ${w}`)
}
const refused = async (promise, code) => {
  const error = await promise.then(() => null, (e) => e)
  if (error?.code !== code) throw new Error(`got ${error}, want a refusal with code ${code}`)
}

// collect gathers what a channel receives.
const collect = async (channel) => {
  const got = []
  await channel.subscribe((m) => got.push(m))
  return got
}
const arrived = async (got, n) => {
  const end = Date.now() + 10000
  while (got.length < n) {
    if (Date.now() > end) throw new Error(`${got.length} of ${n} messages arrived`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return got
}

const checks = {
  'text, JSON and binary arrive as they were': async () => {
    const [a, b] = [await realtime(), await realtime()]
    const got = await collect(b.channels.get('data'))
    const channel = a.channels.get('data')
    await channel.publish('text', 'h\u00e9llo \u{1F680}')
    await channel.publish('json', { a: [1, { b: null }] })
    await channel.publish('binary', Buffer.from([0, 255, 1]))
    await arrived(got, 3)
    equal(got.map((m) => m.name), ['text', 'json', 'binary'], 'names')
    equal(got[0].data, 'h\u00e9llo \u{1F680}', 'text')
    equal(got[1].data, { a: [1, { b: null }] }, 'JSON')
    equal([...new Uint8Array(got[2].data)], [0, 255, 1], 'binary')
    equal(got[0].connectionId, a.connection.id, 'connection id')
  },
  'headers travel in extras': async () => {
    const client = await realtime()
    const got = await collect(client.channels.get('extras'))
    await client.channels.get('extras').publish({ name: 'e', data: 'd', extras: { headers: { origin: 'x' } } })
    await arrived(got, 1)
    equal(got[0].extras.headers, { origin: 'x' }, 'headers')
  },
  'several messages are one publish, in order': async () => {
    const client = await realtime()
    const got = await collect(client.channels.get('several'))
    await client.channels.get('several').publish([1, 2, 3].map((n) => ({ name: String(n), data: 'x' })))
    await arrived(got, 3)
    equal(got.map((m) => m.name), ['1', '2', '3'], 'names')
  },
  'echo can be switched off': async () => {
    const [silent, other] = [await realtime({ echoMessages: false }), await realtime()]
    const got = await collect(silent.channels.get('echo'))
    await silent.channels.get('echo').publish('own', '')
    await other.channels.get('echo').publish('foreign', '')
    await arrived(got, 1)
    equal(got[0].name, 'foreign', 'the first message')
  },
  'a message id is published once': async () => {
    const client = await realtime()
    const got = await collect(client.channels.get('once'))
    const channel = new Ably.Rest(options()).channels.get('once')
    for (const id of ['id-1', 'id-1', 'id-2']) await channel.publish({ id, name: id, data: '' })
    await arrived(got, 2)
    equal(got.map((m) => m.name), ['id-1', 'id-2'], 'names')
  },
  'members enter, are updated, and leave': async () => {
    const [a, b] = [await realtime({ clientId: 'alice' }), await realtime({ clientId: 'bob' })]
    const [ca, cb] = [a.channels.get('members'), b.channels.get('members')]
    const seen = []
    await cb.presence.subscribe((m) => seen.push(`${m.action} ${m.clientId}`))
    await ca.presence.enter({ n: 1 })
    await cb.presence.enter('two')
    await ca.presence.update({ n: 2 })
    await arrived(seen, 3)
    const members = (await cb.presence.get()).map((m) => [m.clientId, m.data]).sort()
    equal(members, [['alice', { n: 2 }], ['bob', 'two']], 'members')
    const rest = await new Ably.Rest(options()).channels.get('members').presence.get()
    equal(rest.items.map((m) => m.clientId).sort(), ['alice', 'bob'], 'members over REST')
    await ca.presence.leave()
    await arrived(seen, 4)
    equal(seen, ['enter alice', 'enter bob', 'update alice', 'leave alice'], 'what was told')
    const late = await realtime()
    equal((await late.channels.get('members').presence.get()).map((m) => m.clientId), ['bob'], 'members, synchronised')
    b.close()
  },
  'members of a closed connection leave': async () => {
    const [a, b] = [await realtime({ clientId: 'alice' }), await realtime()]
    const channel = b.channels.get('closing')
    const left = []
    await channel.presence.subscribe('leave', (m) => left.push(m.clientId))
    await a.channels.get('closing').presence.enter()
    a.close()
    equal(await arrived(left, 1), ['alice'], 'who left')
  },
  'history is paged, backwards and forwards': async () => {
    const channel = new Ably.Rest(options()).channels.get('history')
    for (const n of ['1', '2', '3']) await channel.publish(n, { n })
    const first = await channel.history({ limit: 2 })
    equal(first.items.map((m) => m.name), ['3', '2'], 'first page')
    const second = await first.next()
    equal(second.items.map((m) => m.data), [{ n: '1' }], 'second page')
    equal(second.hasNext(), false, 'more pages')
    const forwards = await channel.history({ direction: 'forwards' })
    equal(forwards.items.map((m) => m.name), ['1', '2', '3'], 'forwards')
  },
  'more than 50 publishes a second are refused': async () => {
    const client = await realtime()
    const channel = client.channels.get('rate')
    const results = await Promise.allSettled(Array.from({ length: 120 }, () => channel.publish('e', '')))
    const codes = results.filter((r) => r.status === 'rejected').map((r) => r.reason.code)
    if (codes.length === 0 || codes.some((c) => c !== 42911)) throw new Error(`refused with ${codes.slice(0, 5)}, want 42911`)
    if (results.length - codes.length < 50) throw new Error(`only ${results.length - codes.length} were accepted`)
  },
  'too large a publish is refused': async () => {
    const client = await realtime()
    await refused(client.channels.get('size').publish('e', 'x'.repeat(65537)), 40009)
    await client.channels.get('size').publish('e', 'x'.repeat(65000))
  },
  'more than 200 channels on a connection are refused': async () => {
    const client = await realtime()
    await Promise.all(Array.from({ length: 200 }, (_, i) => client.channels.get(`many-${i}`).attach()))
    await refused(client.channels.get('many-200').attach(), 90010)
    await client.channels.get('many-0').detach()
    await client.channels.get('many-201').attach()
  },
  'capabilities are enforced': async () => {
    const auth = { defaultTokenParams: { capability: { open: ['*'], 'read:*': ['subscribe'] } } }
    const client = await realtime(auth)
    await client.channels.get('open').publish('e', '')
    await client.channels.get('read:a').attach()
    await refused(client.channels.get('read:a').publish('e', ''), 40160)
    await refused(client.channels.get('closed').attach(), 40160)
    await refused(new Ably.Rest(options(auth)).channels.get('closed').publish('e', ''), 40160)
  },
  'a wrong key is refused': async () => {
    await refused(new Ably.Rest(options({ key: key + 'x' })).channels.get('a').publish('e', ''), 40101)
  },
  'a cut connection is resumed without a hole': async () => {
    const [client, other] = [await realtime(), new Ably.Rest(options())]
    const got = await collect(client.channels.get('resume'))
    const id = client.connection.id
    await other.channels.get('resume').publish('before', '')
    await arrived(got, 1)
    const changed = client.connection.once('disconnected')
    await fault('cut')
    await within(changed, 'disconnected')
    await other.channels.get('resume').publish('meanwhile', '')
    await arrived(got, 2)
    equal(client.connection.id, id, 'connection id')
    equal(got.map((m) => m.name), ['before', 'meanwhile'], 'messages')
  },
  'a connection that cannot be resumed says so': async () => {
    const client = await realtime()
    const channel = client.channels.get('lost')
    await channel.publish('e', '')
    await channel.attach()
    const id = client.connection.id
    const again = new Promise((resolve) => channel.on((change) => change.current === 'attached' && resolve(change)))
    await fault('fail-resume')
    await fault('cut')
    const change = await within(again, 'attached again')
    await fault('allow-resume')
    equal(change.resumed, false, 'resumed')
    if (client.connection.id === id) throw new Error('the connection id is the same')
  },
  'a client that is sent away comes back': async () => {
    const client = await realtime()
    const gone = client.connection.once('disconnected')
    await fault('disconnect')
    await within(gone, 'disconnected')
    await within(client.connection.whenState('connected'), 'connected again')
  },
  'expired tokens are renewed': async () => {
    const client = await realtime()
    await client.channels.get('expiry').attach()
    const before = client.connection.key
    await fault('expire')
    await within((async () => {
      while (client.connection.key === before || client.connection.state !== 'connected') {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })(), 'a connection with a new token')
    await client.channels.get('expiry').publish('e', '')
  },
}

for (const [id, run] of Object.entries(checks)) {
  try {
    await within(run(), id, 40000)
    console.log(JSON.stringify({ id, ok: true }))
  } catch (error) {
    console.log(JSON.stringify({ id, ok: false, detail: String(error?.stack ?? error) }))
  }
  for (const client of clients.splice(0)) client.close()
}
console.log(JSON.stringify({ id: 'done', ok: true }))
process.exit(0)
