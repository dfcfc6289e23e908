// pusher-js in a browser as judge, with each of its transports forced. The
// page comes from the customer's server, so every request to the gateway
// crosses origins. Checks go to that server, as JSON lines.
const query = new URLSearchParams(location.search)
const [host, port, key] = ['host', 'port', 'key'].map((name) => query.get(name))

const post = (path, body) => fetch(path, { method: 'POST', body })
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(condition, what, ms = 20000) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const value = condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`)
  }
}

async function check(id, run) {
  let line = { id, ok: true, detail: '' }
  try {
    await run()
  } catch (error) {
    line = { id, ok: false, detail: String(error.stack ?? error) }
  }
  await post('/lines', JSON.stringify(line))
}

function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)]
  if (a !== b) throw new Error(`${what} = ${a}, want ${b}`)
}

function client(transport, user, more = {}) {
  const endpoint = `/auth?user=${user}`
  return new Pusher(more.key ?? key, {
    wsHost: host, wsPort: port, httpHost: host, httpPort: port, statsHost: `${host}:${port}`,
    cluster: 'mt1', forceTLS: false, encrypted: false, enabledTransports: [transport], disableStats: !more.stats, enableStats: !!more.stats,
    authEndpoint: endpoint, channelAuthorization: { endpoint, transport: 'ajax' },
  })
}

async function connected(pusher) {
  await until(() => pusher.connection.state === 'connected', 'connected')
  return pusher
}

async function joined(pusher, name) {
  const channel = pusher.subscribe(name)
  await until(() => channel.subscribed, `subscribed to ${name}`)
  return channel
}

function collect(emitter, name) {
  const got = []
  emitter.bind(name, (data) => got.push(data))
  return got
}

const trigger = (channel, event, data) => post(`/trigger?channel=${channel}&event=${event}`, data)

async function judge(transport, ids) {
  const [connects, sends, reads] = ids
  const channelName = (kind) => `${kind}-${query.get('run')}-${transport}`
  let ann, bo

  await check(`${connects} ${transport}: connects`, async () => {
    ann = await connected(client(transport, 'ann'))
    bo = await connected(client(transport, 'bo'))
    equal(/^\d+\.\d+$/.test(ann.connection.socket_id), true, 'socket id')
    equal(ann.connection.connection.transport.name, transport, 'transport')
  })

  await check(`${sends} ${transport}: subscribes, and takes events`, async () => {
    const got = collect(await joined(ann, channelName('c')), 'e')
    await trigger(channelName('c'), 'e', JSON.stringify({ text: '<b>"é☃"</b>' }))
    await until(() => got.length, 'event')
    equal(got, [{ text: '<b>"é☃"</b>' }], 'events')
  })

  await check(`${sends} ${transport}: presence and client events`, async () => {
    const mine = await joined(ann, channelName('presence'))
    const [added, removed] = [collect(mine, 'pusher:member_added'), collect(mine, 'pusher:member_removed')]
    const theirs = await joined(bo, channelName('presence'))
    await until(() => added.length, 'member_added')
    equal([added[0].id, theirs.members.count, theirs.members.me.id], ['bo', 2, 'bo'], 'members')
    const typing = collect(mine, 'client-typing')
    theirs.trigger('client-typing', { a: 1 })
    await until(() => typing.length, 'client event')
    equal(typing, [{ a: 1 }], 'client events')
    bo.disconnect()
    await until(() => removed.length, 'member_removed')
    equal(removed[0].id, 'bo', 'who left')
  })

  await check(`${reads} ${transport}: a megabyte, nothing lost, twice or out of order`, async () => {
    const got = collect(await joined(ann, channelName('long')), 'e')
    for (let i = 0; i < 120; i++) await trigger(channelName('long'), 'e', JSON.stringify({ i, x: 'é'.repeat(4000) }))
    await until(() => got.length >= 120, 'all events')
    await sleep(500)
    equal(got.map(({ i }) => i), [...Array(120).keys()], 'events')
    equal(ann.connection.state, 'connected', 'state')
  })

  await check(`${transport}: silence does not end the connection`, async () => {
    const states = collect(ann.connection, 'state_change')
    await sleep(27000)
    equal([states, ann.connection.state], [[], 'connected'], 'changes of state')
  })
  ann.disconnect()

  await check(`${transport === 'ws' ? 'T011' : 'T225'} ${transport}: a wrong key stops the client`, async () => {
    const refused = client(transport, 'ann', { key: 'nobody' })
    const errors = collect(refused.connection, 'error')
    await until(() => errors.length, 'error')
    await sleep(1500)
    equal(errors.map((e) => (e.data ?? e.error.data).code), [4001], 'errors')
    equal(refused.connection.state === 'connected', false, 'connected')
  })
}

// Scripts that could not be loaded or run, as JSONP answers are.
const failed = []
window.addEventListener('error', (event) => failed.push(event.target.src ?? event.message), true)

async function statistics() {
  const pusher = await connected(client('ws', 'ann', { stats: true }))
  const sent = () => performance.getEntriesByType('resource').filter(({ name }) => name.includes('/timeline/v2/'))
  await until(() => sent().some(({ responseEnd }) => responseEnd > 0), 'a report of statistics')
  await sleep(500)
  equal([sent().length, failed], [1, []], 'reports, and scripts that failed')
  pusher.disconnect()
}

async function all() {
  await Promise.all([
    judge('ws', ['T001', 'T044', 'T163']),
    judge('xhr_streaming', ['T219', 'T220', 'T223']),
    judge('xhr_polling', ['T224', 'T224', 'T224']),
  ])
  await check('statistics are answered', statistics)
  await post('/lines', JSON.stringify({ id: 'done', ok: true, detail: '' }))
}

performance.setResourceTimingBufferSize(10000)
window.addEventListener('load', all)
