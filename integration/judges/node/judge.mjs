// What the rigs share: reporting a check as one JSON line, waiting with a
// bound, the customer's side (authorisation endpoint, webhook receiver's
// notes), and where the gateway is.
import http from 'node:http'
import Pusher from 'pusher'

const env = (name) => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}

export const gateway = {
  host: env('JUDGE_HOST'),
  port: Number(env('JUDGE_PORT')),
  appId: env('JUDGE_APP_ID'),
  key: env('JUDGE_KEY'),
  secret: env('JUDGE_SECRET'),
}

// Base64 of the 32 bytes from which encrypted channels' secrets are derived.
const masterKey = Buffer.alloc(32, 7).toString('base64')

// server is Pusher's own server library, as a customer would set it up.
export const server = new Pusher({
  appId: gateway.appId, key: gateway.key, secret: gateway.secret,
  host: gateway.host, port: String(gateway.port), useTLS: false,
  encryptionMasterKeyBase64: masterKey,
})

// unique makes names that no other rig uses.
const run = `${process.pid}-${Date.now().toString(36)}`
export const unique = (name) => `${name}-${run}`

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// within bounds a promise, and says what was waited for when it is late.
export function within(promise, what, ms = 8000) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// next resolves with the next value that bind's callback is given.
export const next = (bind, what, ms) => within(new Promise((resolve) => bind(resolve)), what, ms)

export const event = (emitter, name, ms) =>
  next((resolve) => emitter.bind(name, resolve), `event ${name} on ${emitter.name ?? 'the connection'}`, ms)

export async function until(condition, what, ms = 8000) {
  const end = Date.now() + ms
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`)
    await sleep(50)
  }
}

export function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)]
  if (a !== b) throw new Error(`${what} = ${a}, want ${b}`)
}

// check runs one check and prints its line. Rigs go on after a failed one.
export async function check(id, run) {
  let line = { id, ok: true, detail: '' }
  try {
    await within(Promise.resolve().then(run), 'the whole check', 30000)
  } catch (error) {
    line = { id, ok: false, detail: String(error?.stack ?? error) }
  }
  console.log(JSON.stringify(line))
}

export function done() {
  console.log(JSON.stringify({ id: 'done', ok: true, detail: '' }))
  process.exit(0)
}

// authServer is the customer's endpoint: POST /auth for channels, POST /user
// for sign-in. The user is named by the "user" query parameter.
export async function authServer() {
  const answer = (url, params) => {
    const user = url.searchParams.get('user') ?? 'nobody'
    const socketId = params.get('socket_id')
    if (url.pathname === '/user') {
      const watchlist = (url.searchParams.get('watch') ?? '').split(',').filter(Boolean)
      return server.authenticateUser(socketId, { id: user, user_info: { name: user }, watchlist })
    }
    const channel = params.get('channel_name')
    if (channel.startsWith('presence-')) {
      return server.authorizeChannel(socketId, channel, { user_id: user, user_info: { name: `Name of ${user}` } })
    }
    return server.authorizeChannel(socketId, channel)
  }
  const httpServer = http.createServer((req, res) => {
    let body = ''
    req.on('data', (chunk) => { body += chunk })
    req.on('end', () => {
      const text = JSON.stringify(answer(new URL(req.url, 'http://auth'), new URLSearchParams(body)))
      res.writeHead(200, { 'Content-Type': 'application/json' })
      res.end(text)
    })
  })
  await new Promise((resolve) => httpServer.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${httpServer.address().port}`
}

// webhooks returns what the gateway has sent so far: raw requests.
export async function webhooks() {
  const response = await fetch(env('JUDGE_WEBHOOKS'))
  return response.json()
}

// hookFor waits for a webhook event that passes a test, and returns it with
// its request.
export function hookFor(test, what) {
  return until(async () => {
    for (const request of await webhooks()) {
      const found = JSON.parse(request.body).events.find(test)
      if (found) return { found, request }
    }
  }, `webhook ${what}`, 12000)
}
