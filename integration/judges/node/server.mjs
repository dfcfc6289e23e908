// npm pusher, Pusher's server library, as judge.
import { createRequire } from 'node:module'
import Pusher from 'pusher'
import { authServer, check, done, equal, event, gateway, hookFor, server, sleep, unique, until } from './judge.mjs'

const ClientLibrary = createRequire(import.meta.url)('pusher-js')
const auth = await authServer()

function client(user) {
  return new ClientLibrary(gateway.key, {
    wsHost: gateway.host, wsPort: gateway.port, cluster: 'mt1', forceTLS: false, enabledTransports: ['ws'],
    channelAuthorization: { endpoint: `${auth}/auth?user=${user}` },
  })
}

const tabs = [client('ann'), client('bo'), client('bo')]
const json = async (promise) => (await promise).json()

await check('T236 trigger to one channel and to several', async () => {
  equal(await json(server.trigger(unique('a'), 'e', {})), {}, 'answer')
  equal(await json(server.trigger([unique('a'), unique('b')], 'e', {})), {}, 'answer')
})

await check('T236 trigger with info', async () => {
  const room = unique('presence-info')
  await event(tabs[0].subscribe(room), 'pusher:subscription_succeeded')
  const empty = unique('empty')
  const answer = await json(server.trigger([room, empty], 'e', {}, { info: 'user_count,subscription_count' }))
  equal(answer.channels[room].user_count, 1, 'user_count')
  equal(answer.channels[empty], { subscription_count: 0 }, 'channel without subscribers')
})

await check('T236 batch', async () => {
  const name = unique('batch')
  const channel = tabs[0].subscribe(name)
  await event(channel, 'pusher:subscription_succeeded')
  const got = []
  channel.bind('n', (data) => got.push(data))
  const batch = [...Array(10).keys()].map((n) => ({ channel: name, name: 'n', data: String(n) }))
  equal(await json(server.triggerBatch(batch)), {}, 'answer')
  await until(() => got.length === 10, '10 events')
  equal(got, [...Array(10).keys()], 'order')
})

await check('T236 channels, one channel, users', async () => {
  const room = unique('presence-get')
  for (const tab of tabs) await event(tab.subscribe(room), 'pusher:subscription_succeeded')
  const list = await json(server.get({ path: '/channels', params: { filter_by_prefix: 'presence-get', info: 'user_count' } }))
  equal(list.channels[room], { user_count: 2 }, 'channel in the list')
  const one = await json(server.get({ path: `/channels/${room}`, params: { info: 'user_count,subscription_count' } }))
  equal([one.occupied, one.user_count, one.subscription_count], [true, 2, 3], 'channel')
  const { users } = await json(server.get({ path: `/channels/${room}/users` }))
  equal(users.map((u) => u.id).sort(), ['ann', 'bo'], 'users')
})

await check('T236 errors reach the caller', async () => {
  const error = await server.trigger(unique('big'), 'e', 'x'.repeat(10241)).then(() => null, (e) => e)
  equal(error?.status, 413, 'status of an event that is too large')
  const wrong = new Pusher({ appId: gateway.appId, key: gateway.key, secret: 'wrong', host: gateway.host, port: String(gateway.port), useTLS: false })
  const refused = await wrong.trigger('c', 'e', {}).then(() => null, (e) => e)
  equal(refused?.status, 401, 'status of a wrong secret')
})

const valid = (request) => server.webhook({
  rawBody: request.body,
  headers: { 'x-pusher-key': request.key, 'x-pusher-signature': request.signature, 'content-type': request.content_type },
})

await check('T236 webhooks are valid: channel and members', async () => {
  const room = unique('presence-hook')
  const member = tabs[1].subscribe(room)
  await event(member, 'pusher:subscription_succeeded')
  for (const name of ['channel_occupied', 'member_added']) {
    const { found, request } = await hookFor((e) => e.name === name && e.channel === room, name)
    const hook = valid(request)
    if (!hook.isValid()) throw new Error(`the library does not accept ${request.body}`)
    if (!hook.getEvents().some((e) => e.channel === room)) throw new Error('event not in the library\'s list')
    if (Math.abs(hook.getTime().getTime() - Date.now()) > 60000) throw new Error(`time ${hook.getTime()}`)
    if (name === 'member_added') equal(found.user_id, 'bo', 'user_id')
  }
  tabs[1].unsubscribe(room)
  for (const name of ['member_removed', 'channel_vacated']) {
    const { request } = await hookFor((e) => e.name === name && e.channel === room, name)
    if (!valid(request).isValid()) throw new Error(`the library does not accept ${request.body}`)
  }
})

await check('T236 webhooks are valid: client event', async () => {
  const room = unique('presence-typing')
  const channel = tabs[0].subscribe(room)
  await event(channel, 'pusher:subscription_succeeded')
  channel.trigger('client-typing', { who: '<ann>' })
  const { found, request } = await hookFor((e) => e.name === 'client_event' && e.channel === room, 'client_event')
  if (!valid(request).isValid()) throw new Error(`the library does not accept ${request.body}`)
  equal(found, {
    name: 'client_event', channel: room, event: 'client-typing', data: '{"who":"<ann>"}',
    socket_id: tabs[0].connection.socket_id, user_id: 'ann',
  }, 'event')
})

await check('T236 webhooks are valid: cache miss and subscription count', async () => {
  const channel = unique('cache-hook')
  tabs[0].subscribe(channel)
  for (const name of ['cache_miss', 'subscription_count']) {
    const { request } = await hookFor((e) => e.name === name && e.channel === channel, name)
    if (!valid(request).isValid()) throw new Error(`the library does not accept ${request.body}`)
  }
})

await check('a webhook with one byte changed is not valid', async () => {
  const { request } = await hookFor((e) => e.name === 'channel_occupied', 'any')
  if (valid({ ...request, body: request.body.replace('occupied', 'Occupied') }).isValid()) throw new Error('accepted')
})

await check('a member that reloads the page is in no webhook', async () => {
  const room = unique('presence-reload')
  const tab = client('dee')
  await event(tab.subscribe(room), 'pusher:subscription_succeeded')
  await hookFor((e) => e.name === 'member_added' && e.channel === room, 'member_added')
  tab.disconnect()
  await sleep(500)
  const again = event(tab.channel(room), 'pusher:subscription_succeeded')
  tab.connect()
  await again
  await sleep(4000)
  const late = await hookFor((e) => e.channel === room && /removed|vacated/.test(e.name), 'of a departure').then(({ found }) => found, () => null)
  equal(late, null, 'webhook')
})

for (const tab of tabs) tab.disconnect()
done()
