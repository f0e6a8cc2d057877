/* Blind tests: ABX, and preference. */

/** A fair coin that nobody can foresee. */
function coin() {
  return (crypto.getRandomValues(new Uint8Array(1))[0] & 1) === 1;
}

/** The probability of at least `successes` heads in `trials` throws of a fair coin. */
function atLeast(successes, trials) {
  let sum = 0;
  let term = 0.5 ** trials;
  for (let heads = trials; heads >= 0; heads--) {
    if (heads >= successes) sum += term;
    term *= heads / (trials - heads + 1); // C(n, k - 1) from C(n, k)
  }
  return Math.min(sum, 1);
}

const KINDS = {
  abx: {
    letters: ['A', 'B', 'X'],
    votes: [['A', 'X is A'], ['B', 'X is B']],
    needed: ['X'],
    /* A and B stay what they are; X is one of them, anew in every trial. */
    deal: (pair, before) => {
      const [a, b] = before ? [before.A, before.B] : coin() ? pair : [...pair].reverse();
      return { A: a, B: b, X: coin() ? a : b };
    },
  },
  preference: {
    letters: ['A', 'B'],
    votes: [['A', 'A is better'], ['B', 'B is better'], ['', 'No difference']],
    needed: ['A', 'B'],
    deal: (pair) => {
      const [a, b] = coin() ? pair : [...pair].reverse();
      return { A: a, B: b };
    },
  },
};

class BlindTest {
  constructor(player, onResult) {
    this.player = player;
    this.onResult = onResult;
    this.session = null;
    this.letter = 'A';
    this.panel = player.section.querySelector('.blind');
    this.panel.append(document.getElementById('blind-test').content.cloneNode(true));
    this.setup = this.panel.querySelector('.setup');
    this.trial = this.panel.querySelector('.trial');
    this.outcome = this.panel.querySelector('.outcome');
    this.opener = player.section.querySelector('.open-blind');
    const lists = [...this.setup.querySelectorAll('.first, .second')];
    lists.forEach((list, place) => {
      player.clip.tracks.forEach((track, index) => list.add(new Option(track.title, String(index))));
      list.selectedIndex = Math.min(place, player.clip.tracks.length - 1);
    });
    this.opener.disabled = player.clip.tracks.length < 2;
    this.opener.addEventListener('click', () => this.open());
    this.setup.addEventListener('submit', (event) => {
      event.preventDefault();
      this.begin();
    });
    for (const list of lists) list.addEventListener('change', () => lists[1].setCustomValidity(''));
    for (const button of this.panel.querySelectorAll('.leave')) button.addEventListener('click', () => this.close());
    this.panel.querySelector('.again').addEventListener('click', () => this.#show(this.setup));
    this.panel.querySelector('.stop').addEventListener('click', () => this.#end());
  }

  /** What the listener hears, as far as the listener may know. */
  get heard() {
    return this.session ? this.letter : '';
  }

  open() {
    this.player.transport.pause();
    this.player.blind = this;
    this.player.section.classList.add('blind-open');
    this.opener.hidden = true;
    this.panel.hidden = false;
    this.#show(this.setup);
  }

  close() {
    this.player.transport.pause();
    this.player.transport.select(0);
    this.player.blind = null;
    this.player.section.classList.remove('blind-open');
    this.opener.hidden = false;
    this.panel.hidden = true;
    this.player.refresh();
    this.opener.focus();
  }

  #show(part) {
    for (const each of [this.setup, this.trial, this.outcome]) each.hidden = each !== part;
    part.querySelector('select, button, .verdict').focus();
    this.player.refresh();
  }

  begin() {
    const [first, second] = ['.first', '.second'].map((name) => Number(this.setup.querySelector(name).value));
    if (first === second) {
      const list = this.setup.querySelector('.second');
      list.setCustomValidity('Choose two different tracks.');
      list.reportValidity();
      return;
    }
    this.session = {
      kind: this.setup.querySelector('.kind').value,
      pair: [first, second],
      planned: Number(this.setup.querySelector('.count').value),
      started: new Date().toISOString(),
      trials: [],
      dealt: null,
    };
    this.player.transport.dips = true;
    this.#buttons();
    this.#next();
    this.#show(this.trial);
  }

  #buttons() {
    const kind = KINDS[this.session.kind];
    const make = (place, label, act) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = label;
      button.addEventListener('click', act);
      place.append(button);
      return button;
    };
    const [letters, votes] = ['.letters', '.votes'].map((name) => this.trial.querySelector(name));
    letters.replaceChildren();
    votes.replaceChildren();
    this.letters = kind.letters.map((letter) => make(letters, letter, () => this.listen(letter)));
    this.votes = kind.votes.map(([letter, label]) => make(votes, label, () => this.vote(letter)));
    this.votes.forEach((button, index) => (button.dataset.vote = kind.votes[index][0]));
  }

  #next() {
    const { session } = this;
    this.player.transport.pause();
    session.dealt = KINDS[session.kind].deal(session.pair, session.dealt);
    session.unheard = new Set(KINDS[session.kind].needed);
    session.since = performance.now();
    this.letter = 'A';
    this.player.transport.select(session.dealt.A);
    this.letters[0].focus();
    this.player.refresh();
  }

  listen(letter) {
    this.letter = letter;
    this.player.transport.select(this.session.dealt[letter]);
    return this.player.play();
  }

  /** Whether a key meant something. */
  key(key) {
    const letter = key.toUpperCase();
    if (!this.session || !KINDS[this.session.kind].letters.includes(letter)) return false;
    this.listen(letter);
    return true;
  }

  vote(letter) {
    const { session } = this;
    if (session.unheard.size > 0) return;
    session.trials.push({ dealt: session.dealt, vote: letter, seconds: (performance.now() - session.since) / 1000 });
    if (session.trials.length === session.planned) this.#end();
    else this.#next();
  }

  #end() {
    const { session } = this;
    this.player.transport.pause();
    this.player.transport.dips = false;
    this.session = null;
    if (session.trials.length === 0) {
      this.#show(this.setup);
      return;
    }
    const result = summary(session, this.player.clip);
    this.panel.querySelector('.verdict').textContent = sentence(result);
    this.#show(this.outcome);
    this.onResult(result);
  }

  refresh() {
    const { session } = this;
    if (!session) return;
    const { transport } = this.player;
    if (transport.isPlaying) session.unheard.delete(this.letter);
    this.letters.forEach((button) => {
      button.setAttribute('aria-pressed', String(button.textContent === this.letter));
    });
    for (const button of this.votes) button.disabled = session.unheard.size > 0;
    const missing = [...session.unheard].join(' and ');
    const words =
      `Trial ${session.trials.length + 1} of ${session.planned}.` + (missing ? ` Listen to ${missing}, then vote.` : '');
    const progress = this.trial.querySelector('.progress');
    if (progress.textContent !== words) progress.textContent = words;
  }
}

/** A session as it is saved: with names instead of numbers, and what it comes to. */
function summary(session, clip) {
  const name = (index) => clip.tracks[index].name;
  const isAbx = session.kind === 'abx';
  const trials = session.trials.map(({ dealt, vote, seconds }) => ({
    ...Object.fromEntries(Object.entries(dealt).map(([letter, index]) => [letter, name(index)])),
    vote: vote || null,
    chosen: vote ? name(dealt[vote]) : null,
    ...(isAbx ? { correct: dealt[vote] === dealt.X } : {}),
    seconds: Number(seconds.toFixed(1)),
  }));
  const pair = session.pair.map(name);
  const finished = trials.length === session.planned;
  const result = { clip: clip.file, kind: session.kind, pair, planned: session.planned, finished, trials };
  if (isAbx) {
    result.correct = trials.filter((trial) => trial.correct).length;
    result.p_value = finished ? atLeast(result.correct, trials.length) : null;
  } else {
    const counts = pair.map((each) => trials.filter((trial) => trial.chosen === each).length);
    const voted = counts[0] + counts[1];
    result.preferred = Object.fromEntries(pair.map((each, index) => [each, counts[index]]));
    result.no_difference = trials.length - voted;
    result.p_value = finished && voted ? Math.min(1, 2 * atLeast(Math.max(...counts), voted)) : null;
  }
  return { ...result, started: session.started, ended: new Date().toISOString() };
}

/** What a result says. */
function sentence(result) {
  const count = result.trials.length;
  const p = result.p_value === null ? null : result.p_value < 0.001 ? 'p < 0.001' : `p = ${result.p_value.toFixed(3)}`;
  const [one, other] = result.pair;
  let words;
  if (result.kind === 'abx') {
    const { A, B } = result.trials[0];
    words = `ABX of ${A} (A) and ${B} (B): ${result.correct} of ${count} right. `;
    if (p) words += `Guessing gets at least as many with probability ${p}.`;
  } else {
    const { preferred } = result;
    words = `Preference: ${one} ${preferred[one]}, ${other} ${preferred[other]}, no difference ${result.no_difference}. `;
    if (p) words += `If neither were better, counts this far apart would come with probability ${p} (sign test, two-sided).`;
  }
  return p || result.finished ? words : `${words}Stopped after ${count} of ${result.planned} trials, so no probability.`;
}
