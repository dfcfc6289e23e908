// pusher-js as judge: node pusher-js.mjs MODULE, where MODULE is one of the
// majors in package.json.
import { createRequire } from 'node:module'
import { authServer, check, done, equal, event, gateway, next, server, sleep, unique, until } from './judge.mjs'

const name = process.argv[2]
const require = createRequire(import.meta.url)
const exported = require(name)
const Pusher = exported.Pusher ?? exported
const major = Number(require(`${name}/package.json`).version.split('.')[0])
const auth = await authServer()

const clients = []

function client(user = 'ann', watch = '', more = {}) {
  const channels = `${auth}/auth?user=${user}`
  const users = `${auth}/user?user=${user}&watch=${watch}`
  const pusher = new Pusher(more.key ?? gateway.key, {
    wsHost: gateway.host, wsPort: gateway.port, httpHost: gateway.host, httpPort: gateway.port,
    cluster: 'mt1', forceTLS: false, encrypted: false, enabledTransports: ['ws'], disableStats: true, enableStats: false,
    authEndpoint: channels,
    ...(major >= 7 && {
      channelAuthorization: { endpoint: channels, transport: 'ajax' },
      userAuthentication: { endpoint: users, transport: 'ajax' },
    }),
    ...more,
  })
  clients.push(pusher)
  return pusher
}

async function connected(pusher) {
  await until(() => pusher.connection.state === 'connected', 'connected')
  return pusher
}

// joined subscribes and returns the channel and what its success brought.
async function joined(pusher, channelName) {
  const channel = pusher.subscribe(channelName)
  const data = await event(channel, 'pusher:subscription_succeeded')
  return { channel, data }
}

function collect(emitter, eventName) {
  const got = []
  emitter.bind(eventName, (...args) => got.push(args))
  return got
}

const pusher = await connected(client())

await check('connects', async () => {
  if (!/^\d+\.\d+$/.test(pusher.connection.socket_id)) throw new Error(`socket id ${pusher.connection.socket_id}`)
})

await check('public channel, event with its data', async () => {
  const channelName = unique('public')
  const { channel } = await joined(pusher, channelName)
  const got = event(channel, 'update')
  const data = { text: '<b>"é☃"</b>', list: [1, 2.5, null, true], nested: { a: {} } }
  await server.trigger(channelName, 'update', data)
  equal(await got, data, 'data')
})

await check('public channel, data that is no JSON', async () => {
  const channelName = unique('text')
  const { channel } = await joined(pusher, channelName)
  const got = event(channel, 'update')
  await server.trigger(channelName, 'update', 'plain text')
  equal(await got, 'plain text', 'data')
})

await check('several channels on one connection, in order', async () => {
  const names = [1, 2, 3].map((n) => unique(`many${n}`))
  const got = []
  for (const channelName of names) {
    const { channel } = await joined(pusher, channelName)
    channel.bind('n', (data) => got.push(data))
  }
  for (let i = 0; i < 12; i++) await server.trigger(names[i % 3], 'n', i)
  await until(() => got.length === 12, '12 events')
  equal(got, [...Array(12).keys()], 'order')
})

await check('unsubscribe ends delivery', async () => {
  const channelName = unique('left')
  const { channel } = await joined(pusher, channelName)
  const got = collect(channel, 'update')
  pusher.unsubscribe(channelName)
  await until(async () => (await channelsInfo(channelName)).occupied === false, 'channel vacated')
  await server.trigger(channelName, 'update', 1)
  await sleep(300)
  equal(got.length, 0, 'events after unsubscribe')
})

async function channelsInfo(channelName) {
  const response = await server.get({ path: `/channels/${channelName}` })
  return response.json()
}

await check('the publisher is left out by its socket id', async () => {
  const channelName = unique('except')
  const other = await connected(client('bo'))
  const mine = collect((await joined(pusher, channelName)).channel, 'update')
  const theirs = event((await joined(other, channelName)).channel, 'update')
  await server.trigger(channelName, 'update', 1, { socket_id: pusher.connection.socket_id })
  await theirs
  await sleep(200)
  equal(mine.length, 0, 'events to the publisher')
})

await check('private channel, client event in both forms', async () => {
  const channelName = unique('private-chat')
  const other = await connected(client('bo'))
  const { channel } = await joined(pusher, channelName)
  const { channel: theirs } = await joined(other, channelName)
  const mine = collect(channel, 'client-typing')
  for (const data of [{ who: 'ann' }, 'a string']) {
    const got = event(theirs, 'client-typing')
    channel.trigger('client-typing', data)
    equal(await got, data, 'data')
    theirs.unbind('client-typing')
  }
  await sleep(200)
  equal(mine.length, 0, 'client events to their sender')
})

await check('client event on a presence channel names its sender', async () => {
  const channelName = unique('presence-typing')
  const other = await connected(client('bo'))
  const { channel } = await joined(pusher, channelName)
  const { channel: theirs } = await joined(other, channelName)
  const got = next((resolve) => theirs.bind('client-typing', (data, metadata) => resolve([data, metadata])), 'client event')
  channel.trigger('client-typing', { a: 1 })
  const [data, metadata] = await got
  equal(data, { a: 1 }, 'data')
  equal(metadata?.user_id, 'ann', 'sender')
})

await check('presence: members, first tab in, last tab out', async () => {
  const channelName = unique('presence-room')
  const { channel, data: members } = await joined(pusher, channelName)
  equal([members.count, members.me.id, members.me.info], [1, 'ann', { name: 'Name of ann' }], 'members')
  const added = collect(channel, 'pusher:member_added')
  const removed = collect(channel, 'pusher:member_removed')
  const tabs = [await connected(client('bo')), await connected(client('bo'))]
  for (const tab of tabs) {
    const { data } = await joined(tab, channelName)
    equal([data.count, data.me.id, data.get('ann').info], [2, 'bo', { name: 'Name of ann' }], 'members of a tab')
  }
  await until(() => added.length > 0, 'member added')
  equal(added.map(([m]) => m), [{ id: 'bo', info: { name: 'Name of bo' } }], 'members added')
  tabs[0].disconnect()
  await sleep(300)
  equal(removed.length, 0, 'members removed while a tab is left')
  tabs[1].disconnect()
  await until(() => removed.length > 0, 'member removed')
  equal(removed.map(([m]) => m.id), ['bo'], 'members removed')
  equal(channel.members.count, 1, 'members left')
})

await check('a subscription that is not authorised is refused', async () => {
  const badName = unique('private-bad')
  const stranger = await connected(client('eve', '', {
    authorizer: () => ({ authorize: (_, callback) => answerBadly(callback) }),
    channelAuthorization: { customHandler: (_, callback) => callback(null, { auth: `${gateway.key}:${'0'.repeat(64)}` }) },
  }))
  const refused = next((resolve) => stranger.connection.bind('error', resolve), 'error')
  const channel = stranger.subscribe(badName)
  const succeeded = collect(channel, 'pusher:subscription_succeeded')
  const error = await refused
  equal(error.error?.data?.code ?? error.data?.code ?? null, null, 'code')
  equal([succeeded.length, stranger.connection.state], [0, 'connected'], 'subscriptions and state')
})

function answerBadly(callback) {
  const answer = { auth: `${gateway.key}:${'0'.repeat(64)}` }
  if (major >= 6) callback(null, answer)
  else callback(false, answer)
}

await check('a key that does not exist stops the client', async () => {
  const stranger = client('eve', '', { key: 'ffffffffffffffffffff' })
  const error = await next((resolve) => stranger.connection.bind('error', resolve), 'error')
  equal(error.error?.data?.code ?? error.data?.code, 4001, 'code')
  await until(() => ['failed', 'disconnected'].includes(stranger.connection.state), 'client stopped')
})

await check('comes back after a disconnect, with its channels', async () => {
  const channelName = unique('presence-back')
  const tab = await connected(client('cy'))
  await joined(tab, channelName)
  const before = tab.connection.socket_id
  tab.disconnect()
  const again = event(tab.channel(channelName), 'pusher:subscription_succeeded')
  tab.connect()
  equal((await again).count, 1, 'members')
  if (tab.connection.socket_id === before) throw new Error('same socket id again')
})

if (major >= 7) {
  await check('encrypted channel', async () => {
    const channelName = unique('private-encrypted-safe')
    const { channel } = await joined(pusher, channelName)
    const got = event(channel, 'secret')
    await server.trigger(channelName, 'secret', { pin: 1234 })
    equal(await got, { pin: 1234 }, 'data')
  })

  await check('cache channel: miss, then the last event for newcomers', async () => {
    const channelName = unique('cache-price')
    const channel = pusher.subscribe(channelName)
    await event(channel, 'pusher:cache_miss')
    await server.trigger(channelName, 'price', { eur: 7 })
    const other = await connected(client('bo'))
    equal(await event(other.subscribe(channelName), 'price'), { eur: 7 }, 'cached event')
  })

  await check('subscription count', async () => {
    const channelName = unique('counted')
    const { channel } = await joined(pusher, channelName)
    const other = await connected(client('bo'))
    const two = until(() => channel.subscriptionCount === 2, 'a count of 2')
    const got = event(other.subscribe(channelName), 'pusher:subscription_count')
    equal((await got).subscription_count, 2, 'count to the newcomer')
    await two
    other.unsubscribe(channelName)
    await until(() => channel.subscriptionCount === 1, 'a count of 1')
  })

  await check('sign-in, event to a user on every tab', async () => {
    const user = unique('user')
    const tabs = [await connected(client(user)), await connected(client(user))]
    for (const tab of tabs) tab.signin()
    await until(() => tabs.every((tab) => tab.user.user_data?.id === user), 'signed in')
    await Promise.all(tabs.map((tab) => tab.user.signinDonePromise))
    const got = tabs.map((tab) => next((resolve) => tab.user.bind('news', resolve), 'event to the user'))
    await until(() => tabs.every((tab) => tab.channel(`#server-to-user-${user}`)?.subscribed ?? true), 'server-to-user channel')
    await sleep(200)
    await server.sendToUser(user, 'news', { n: 1 })
    equal(await Promise.all(got), [{ n: 1 }, { n: 1 }], 'events')
  })

  await check('watchlist: online and offline', async () => {
    const watched = unique('watched')
    const watcher = await connected(client(unique('watcher'), watched))
    const online = next((resolve) => watcher.user.watchlist.bind('online', resolve), 'online')
    const offline = next((resolve) => watcher.user.watchlist.bind('offline', (e) => wentOffline && resolve(e)), 'offline', 20000)
    let wentOffline = false
    watcher.signin()
    await until(() => watcher.user.user_data, 'signed in')
    await sleep(200)
    const tab = await connected(client(watched))
    tab.signin()
    equal((await online).user_ids, [watched], 'online')
    wentOffline = true
    tab.disconnect()
    equal((await offline).user_ids, [watched], 'offline')
  })

  await check('the connections of a user are terminated', async () => {
    const user = unique('thrown')
    const tab = await connected(client(user))
    tab.signin()
    await until(() => tab.user.user_data?.id === user, 'signed in')
    const states = collect(tab.connection, 'state_change')
    await server.terminateUserConnections(user)
    await until(() => states.some(([s]) => s.previous === 'connected'), 'connection closed')
    equal(pusher.connection.state, 'connected', 'state of another user')
  })
}

for (const each of clients) each.disconnect()
done()
