/** All sounds are synthesised. Silent until the first gesture, as browsers demand. */

const HEARD_UNITS = 1100; // farther events are silent
const AGAIN_S = { fire: 0.045, hit: 0.05, explosion: 0.09, pickup: 0.04, spawn: 0.2, kill: 0.2 };

export class Audio {
  constructor(settings) {
    this.settings = settings;
    this.context = null;
    this.last = {};
    this.combo = 0;
    const start = () => this.start();
    for (const type of ["pointerdown", "pointerup", "keydown"])
      addEventListener(type, start, { passive: true });
    document.addEventListener("visibilitychange", () => this.level());
    settings.onChange((key) => {
      if (key === "volume" || key === "muted") this.level();
    });
  }

  start() {
    if (navigator.userActivation?.isActive === false) return; // a touch counts when it ends
    if (this.context) {
      if (this.context.state === "suspended") this.context.resume();
      return;
    }
    if (!globalThis.AudioContext) return;
    const context = (this.context = new AudioContext());
    this.master = new GainNode(context, { gain: 0 });
    const squeeze = new DynamicsCompressorNode(context, {
      threshold: -16,
      ratio: 8,
      release: 0.15,
    });
    this.master.connect(squeeze).connect(context.destination);

    const length = context.sampleRate;
    this.noise = new AudioBuffer({ length, sampleRate: length });
    const samples = this.noise.getChannelData(0);
    for (let i = 0; i < length; i++) samples[i] = Math.random() * 2 - 1;

    this.engine = this.hum();
    this.level();
  }

  level() {
    if (!this.context) return;
    const silent = this.settings.get("muted") || document.hidden;
    const gain = silent ? 0 : this.settings.get("volume") ** 1.6;
    this.master.gain.setTargetAtTime(gain, this.context.currentTime, 0.03);
  }

  /** The own engine: one looped noise, opened by thrust and boost. */
  hum() {
    const source = new AudioBufferSourceNode(this.context, { buffer: this.noise, loop: true });
    const filter = new BiquadFilterNode(this.context, { type: "bandpass", frequency: 140, Q: 0.8 });
    const gain = new GainNode(this.context, { gain: 0 });
    source.connect(filter).connect(gain).connect(this.master);
    source.start();
    return { filter, gain };
  }

  /** How hard the own engine works: 0 idle, 1 thrust, 2 boost. */
  drive(work) {
    if (!this.context || work === this.work) return;
    this.work = work;
    const now = this.context.currentTime;
    this.engine.gain.gain.setTargetAtTime([0, 0.05, 0.3][work], now, 0.07);
    this.engine.filter.frequency.setTargetAtTime([90, 150, 520][work], now, 0.1);
  }

  /** Sound the events of a scene as heard from its view. */
  hear(scene) {
    if (!this.context || this.context.state !== "running" || this.settings.get("muted")) return;
    for (const fx of scene.fx) {
      const dx = fx.x - scene.view.x;
      const near = fx.own ? 1 : 1 - Math.hypot(dx, fx.y - scene.view.y) / HEARD_UNITS;
      if (near <= 0) continue;
      const now = this.context.currentTime;
      if (now - (this.last[fx.type] ?? -1) < AGAIN_S[fx.type]) continue;
      this.last[fx.type] = now;
      const out = new StereoPannerNode(this.context, {
        pan: fx.own ? 0 : Math.max(-0.8, Math.min(0.8, dx / 800)),
      });
      out.connect(this.master);
      this[fx.type]?.(out, near * near * (fx.own ? 1 : 0.55), now, fx.own);
    }
  }

  tone(out, type, from, to, gain, now, length, delay = 0) {
    const start = now + delay;
    const osc = new OscillatorNode(this.context, { type, frequency: from });
    osc.frequency.setValueAtTime(from, start);
    osc.frequency.exponentialRampToValueAtTime(to, start + length);
    const env = new GainNode(this.context, { gain: 0 });
    env.gain.setValueAtTime(0, start);
    env.gain.linearRampToValueAtTime(gain, start + 0.006);
    env.gain.exponentialRampToValueAtTime(0.0005, start + length);
    osc.connect(env).connect(out);
    osc.start(start);
    osc.stop(start + length + 0.02);
  }

  rush(out, type, from, to, gain, now, length, q = 0.9) {
    const source = new AudioBufferSourceNode(this.context, { buffer: this.noise });
    const filter = new BiquadFilterNode(this.context, { type, frequency: from, Q: q });
    filter.frequency.setValueAtTime(from, now);
    filter.frequency.exponentialRampToValueAtTime(to, now + length);
    const env = new GainNode(this.context, { gain });
    env.gain.setValueAtTime(gain, now);
    env.gain.exponentialRampToValueAtTime(0.0005, now + length);
    source.connect(filter).connect(env).connect(out);
    source.start(now, Math.random() * 0.5, length + 0.05);
  }

  fire(out, gain, now, own) {
    this.tone(out, "sawtooth", own ? 940 : 700, own ? 190 : 150, 0.16 * gain, now, 0.1);
    this.tone(out, "square", own ? 1900 : 1300, 320, 0.05 * gain, now, 0.06);
  }

  hit(out, gain, now, own) {
    this.rush(out, "bandpass", 2600, 700, 0.34 * gain, now, 0.1, 1.4);
    this.tone(out, "triangle", own ? 210 : 340, 70, 0.34 * gain, now, 0.14);
  }

  explosion(out, gain, now) {
    this.rush(out, "lowpass", 2400, 55, 0.95 * gain, now, 0.95);
    this.tone(out, "sine", 110, 28, 0.75 * gain, now, 0.6);
    this.rush(out, "highpass", 5000, 1500, 0.16 * gain, now, 0.18);
  }

  pickup(out, gain, now, own) {
    if (!own) return;
    this.combo = now - (this.lastPickup ?? -9) < 1 ? Math.min(this.combo + 1, 12) : 0;
    this.lastPickup = now;
    const note = 587 * 2 ** (this.combo / 12);
    this.tone(out, "sine", note, note, 0.16 * gain, now, 0.12);
    this.tone(out, "sine", note * 1.5, note * 1.5, 0.13 * gain, now, 0.2, 0.055);
  }

  spawn(out, gain, now, own) {
    [262, 392, 523, 784].forEach((note, i) => {
      this.tone(
        out,
        "triangle",
        note,
        note * 1.01,
        (own ? 0.17 : 0.04) * gain,
        now,
        0.26,
        i * 0.06,
      );
    });
  }

  kill(out, gain, now, own) {
    if (!own) return;
    [523, 659, 988].forEach((note, i) => {
      this.tone(out, "square", note, note, 0.085 * gain, now, 0.2, i * 0.075);
    });
  }
}
