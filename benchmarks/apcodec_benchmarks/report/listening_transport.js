/* All tracks of a clip run at once, in step to the sample; one of them is heard. */

const FADE = 0.012; // seconds in which one track gives way to another
const AHEAD = 0.03; // seconds from now at which all tracks start together

class Transport extends EventTarget {
  static #contexts = new Map();
  static #current = null; // the one transport that may play, and whose audio is kept decoded

  /**
   * @param {number} rate Hz
   * @param {number} duration seconds
   * @param {(() => ArrayBuffer)[]} sources the encoded audio of each track
   */
  constructor(rate, duration, sources) {
    super();
    this.rate = rate;
    this.duration = duration;
    this.sources = sources;
    this.selected = 0;
    this.loop = false;
    /* Whether every switch goes through silence, so that one between equals sounds like any other. */
    this.dips = false;
    this.offset = 0;
    this.running = null;
    this.decoded = null;
  }

  get isPlaying() {
    return this.running !== null;
  }

  get position() {
    if (!this.running) return this.offset;
    const at = this.offset + Math.max(0, this.running.context.currentTime - this.running.since);
    return this.loop ? at % this.duration : Math.min(at, this.duration);
  }

  static #context(rate) {
    if (!Transport.#contexts.has(rate)) {
      let context;
      try {
        context = new AudioContext({ sampleRate: rate });
      } catch {
        context = new AudioContext(); // a browser that cannot run at this rate resamples
      }
      Transport.#contexts.set(rate, context);
    }
    return Transport.#contexts.get(rate);
  }

  async play() {
    const current = Transport.#current;
    if (current && current !== this) {
      current.pause();
      current.decoded = null;
    }
    Transport.#current = this;
    const context = Transport.#context(this.rate);
    this.decoded ??= Promise.all(this.sources.map((source) => context.decodeAudioData(source())));
    const decoding = this.decoded;
    let buffers;
    try {
      [buffers] = await Promise.all([decoding, context.resume()]);
    } catch (error) {
      if (this.decoded === decoding) this.decoded = null;
      throw error;
    }
    if (Transport.#current !== this || this.running) return; // somebody was faster
    if (this.offset > this.duration - 0.01) this.offset = 0;
    this.#start(context, buffers);
    this.#changed();
  }

  pause() {
    if (!this.running) return;
    this.offset = this.position;
    this.#stop();
    this.#changed();
  }

  seek(seconds) {
    const at = Math.min(Math.max(seconds, 0), this.duration);
    const running = this.running;
    if (running) this.#stop();
    this.offset = at;
    if (running && (this.loop || at < this.duration)) this.#start(running.context, running.buffers);
    this.#changed();
  }

  select(index) {
    this.selected = index;
    if (this.running) {
      const now = this.running.context.currentTime;
      this.running.faders.forEach((fader, each) => {
        const end = each === index ? 1 : 0;
        fader.glide(now, ...(this.dips ? [[now + FADE, 0], [now + 2 * FADE, end]] : [[now + FADE, end]]));
      });
    }
    this.#changed();
  }

  setLoop(on) {
    const at = this.position;
    if (this.running) {
      this.offset = at;
      this.running.since = this.running.context.currentTime;
      for (const node of this.running.nodes) node.loop = on;
    }
    this.loop = on;
    this.#changed();
  }

  #start(context, buffers) {
    const since = context.currentTime + AHEAD;
    const from = Math.min(this.offset, this.duration - 1 / this.rate);
    const faders = buffers.map(() => new Fader(context));
    faders[this.selected].glide(context.currentTime, [since, 0], [since + (from > 0 ? FADE : 0.001), 1]);
    const nodes = buffers.map((buffer, index) => {
      const node = context.createBufferSource();
      node.buffer = buffer;
      node.loop = this.loop;
      node.connect(faders[index].node);
      node.start(since, from);
      return node;
    });
    const running = { context, buffers, faders, nodes, since };
    nodes[0].onended = () => {
      if (this.running !== running) return;
      this.running = null;
      this.offset = this.duration;
      for (const fader of faders) fader.node.disconnect();
      this.#changed();
    };
    this.running = running;
  }

  #stop() {
    const { context, faders, nodes } = this.running;
    this.running = null;
    const now = context.currentTime;
    nodes.forEach((node, index) => {
      faders[index].glide(now, [now + FADE, 0]);
      node.onended = () => faders[index].node.disconnect();
      node.stop(now + FADE);
    });
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/* A gain that glides from where it is; not every browser tells where that is, so it keeps its own plan. */
class Fader {
  constructor(context) {
    this.node = context.createGain();
    this.node.gain.value = 0;
    this.node.connect(context.destination);
    this.plan = [[0, 0]];
  }

  /** The gain at a time, by the plan: [time, gain] pairs, with straight lines between them. */
  at(time) {
    const next = this.plan.findIndex(([when]) => when > time);
    if (next < 0) return this.plan[this.plan.length - 1][1];
    if (next === 0) return this.plan[0][1];
    const [[t0, g0], [t1, g1]] = this.plan.slice(next - 1, next + 1);
    return g0 + ((g1 - g0) * (time - t0)) / (t1 - t0);
  }

  /** Forget the plan and go on from now through other pairs. */
  glide(now, ...pairs) {
    const { gain } = this.node;
    this.plan = [[now, this.at(now)], ...pairs];
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(this.plan[0][1], now);
    for (const [time, value] of pairs) gain.linearRampToValueAtTime(value, time);
  }
}

/** The bytes behind a data URI in base64. */
function bytesOf(uri) {
  const text = atob(uri.slice(uri.indexOf(',') + 1));
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes.buffer;
}
