// Takes part in the shutdown of a service, with Node and nothing else.
//   node participant.mjs SOCKET NAME
// SOCKET is the service's control socket, as in `lameduck demo --control SOCKET`.
import http from "node:http";
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [socketPath, name] = process.argv.slice(2);

/** The answer to a request; its body is still to be read. */
function post(path, message) {
  return new Promise((resolve, reject) => {
    // One request a connection: none is kept.
    const request = http.request({ socketPath, path, method: "POST", agent: false }, resolve);
    request.on("error", reject);
    request.end(JSON.stringify(message));
  });
}

/** From hello to over; the connection of this one answer is our life in the service. */
async function takePart() {
  const answer = await post("/v1/participants", { name, budget_ms: 500 });
  if (answer.statusCode !== 200) throw new Error(`refused: ${answer.statusCode}`);
  let session;
  let closing = false;
  let done = false;
  const say = async (type, fields = {}) => {
    const said = await post(`/v1/sessions/${session}`, { type, ...fields });
    for await (const _ of said);
  };
  const lines = readline.createInterface({ input: answer });
  // How an answer ends shows in its lines: they end.
  answer.on("error", () => lines.close());
  for await (const line of lines) {
    if (!line.startsWith("data: ")) continue;
    const message = JSON.parse(line.slice(6));
    const { type, id } = message;
    if (type === "hello") {
      session = message.session;
      await say("ready");
      console.log("joined");
    } else if (type === "shutdown_request") {
      await say("ack", { id });
    } else if (type === "close") {
      closing = true;
      await say("need_more", { id, wish: 1, by_ms: 2000, why: "three batches are left" });
    } else if (type === "granted") {
      console.log(`granted ${message.by_ms} ms`);
      // An operator may give time too, at any moment: only the answer to our wish lets us go on.
      if (message.wish === 1 && closing && !done) {
        await finish(say, id);
        done = true;
        // The service may leave before it has answered.
        await say("done", { id, figures: { batches: 3 } }).catch(() => {});
      }
    } else if (type === "over") {
      return message.state;
    }
  }
  // It took our word, and left.
  if (done) return "done";
  throw new Error("the stream ended without a last word");
}

/** Whatever must be done before we may go: here three batches. */
async function finish(say, id) {
  for (const done of [1, 2, 3]) {
    await sleep(200);
    await say("working", { id, done, total: 3, note: `batch ${done}` });
  }
}

for (let pause = 500; ; pause = Math.min(2 * pause, 15_000)) {
  const began = Date.now();
  try {
    console.log("over:", await takePart());
    break;
  } catch (error) {
    console.error("lost:", error.message);
  }
  // After a session that lasted it is another loss, not the same one again.
  if (Date.now() - began > 15_000) pause = 500;
  await sleep(pause);
}
