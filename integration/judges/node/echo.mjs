// Laravel Echo as judge (T237).
import { createRequire } from 'node:module'
import Echo from 'laravel-echo'
import { authServer, check, done, equal, gateway, next, server, sleep, unique, until } from './judge.mjs'

const Pusher = createRequire(import.meta.url)('pusher-js')
const auth = await authServer()

function echo(user) {
  const client = new Pusher(gateway.key, {
    wsHost: gateway.host, wsPort: gateway.port, cluster: 'mt1', forceTLS: false, enabledTransports: ['ws'],
    channelAuthorization: { endpoint: `${auth}/auth?user=${user}` },
  })
  return new Echo({ broadcaster: 'pusher', key: gateway.key, client, withoutInterceptors: true })
}

const [ann, bo] = [echo('ann'), echo('bo')]

const subscribed = (channel) => next((resolve) => channel.subscribed(() => resolve()), 'subscribed')

await check('T237 connects', () => until(() => /^\d+\.\d+$/.test(ann.socketId() ?? ''), 'a socket id'))

await check('T237 channel and listen, with the name of an event class', async () => {
  const name = unique('orders')
  const channel = ann.channel(name)
  await subscribed(channel)
  const got = next((resolve) => channel.listen('OrderShipped', resolve), 'App\\Events\\OrderShipped')
  const dotted = next((resolve) => channel.listen('.plain', resolve), 'plain')
  await server.trigger(name, 'App\\Events\\OrderShipped', { id: 7 })
  await server.trigger(name, 'plain', { id: 8 })
  equal(await got, { id: 7 }, 'data')
  equal(await dotted, { id: 8 }, 'data of a dotted name')
})

await check('T237 private and whisper', async () => {
  const name = unique('chat')
  const mine = ann.private(name)
  const theirs = bo.private(name)
  await Promise.all([subscribed(mine), subscribed(theirs)])
  const got = next((resolve) => theirs.listenForWhisper('typing', resolve), 'whisper')
  mine.whisper('typing', { name: 'ann' })
  equal(await got, { name: 'ann' }, 'whisper')
})

await check('T237 encrypted private channel', async () => {
  const name = unique('safe')
  const channel = ann.encryptedPrivate(name)
  await subscribed(channel)
  const got = next((resolve) => channel.listen('.secret', resolve), 'secret')
  await server.trigger(`private-encrypted-${name}`, 'secret', { pin: 1 })
  equal(await got, { pin: 1 }, 'data')
})

await check('T237 join, here, joining, whisper, leaving', async () => {
  const name = unique('room')
  const room = ann.join(name)
  equal(await next((resolve) => room.here(resolve), 'here'), [{ name: 'Name of ann' }], 'here')
  const joining = next((resolve) => room.joining(resolve), 'joining')
  const leaving = next((resolve) => room.leaving(resolve), 'leaving', 20000)
  const theirs = bo.join(name)
  const here = await next((resolve) => theirs.here(resolve), 'here of the second')
  equal(here.map((m) => m.name).sort(), ['Name of ann', 'Name of bo'], 'here of the second')
  equal(await joining, { name: 'Name of bo' }, 'joining')
  const whisper = next((resolve) => room.listenForWhisper('hi', resolve), 'whisper')
  theirs.whisper('hi', { n: 1 })
  equal(await whisper, { n: 1 }, 'whisper')
  bo.leave(name)
  equal(await leaving, { name: 'Name of bo' }, 'leaving')
})

await check('T237 toOthers leaves the sender out', async () => {
  const name = unique('others')
  const mine = ann.channel(name)
  const theirs = bo.channel(name)
  await Promise.all([subscribed(mine), subscribed(theirs)])
  let own = 0
  mine.listen('.e', () => own++)
  const got = next((resolve) => theirs.listen('.e', resolve), 'event')
  await server.trigger(name, 'e', {}, { socket_id: ann.socketId() })
  await got
  await sleep(200)
  equal(own, 0, 'events to the sender')
})

ann.disconnect()
bo.disconnect()
done()
