/* The controls of one clip: its transport, a button for each track, and the cursor over the spectrograms. */

class Player {
  constructor(section, clip) {
    this.section = section;
    this.clip = clip;
    this.blind = null; // while a blind test is open
    this.rows = [...section.querySelectorAll('.track[data-track]')];
    const audio = this.rows.map((row) => row.querySelector('audio'));
    this.transport = new Transport(
      clip.rate,
      clip.samples / clip.rate,
      audio.map((each) => () => bytesOf(each.getAttribute('src'))),
    );
    const find = (name) => section.querySelector(name);
    this.controls = { play: find('.play'), seek: find('.seek'), time: find('.time'), loop: find('.loop') };
    this.state = find('.state');
    this.#prepare(audio);
    this.#listen();
    this.refresh();
  }

  /* The browser's players give way to ours, which start and switch in step. */
  #prepare(audio) {
    for (const each of audio) each.controls = false;
    this.section.querySelector('.transport').hidden = false;
    for (const each of this.section.querySelectorAll('.choose, .cursor')) each.hidden = false;
  }

  #listen() {
    const { play, seek, loop } = this.controls;
    this.transport.addEventListener('change', () => this.refresh());
    play.addEventListener('click', () => this.toggle());
    seek.addEventListener('input', () => this.transport.seek(Number(seek.value)));
    loop.addEventListener('change', () => this.transport.setLoop(loop.checked));
    this.rows.forEach((row, index) => {
      row.querySelector('.choose').addEventListener('click', () => this.choose(index));
      const picture = row.querySelector('.picture');
      const seekHere = (event) => {
        const box = picture.getBoundingClientRect();
        this.transport.seek(((event.clientX - box.left) / box.width) * this.transport.duration);
      };
      picture.addEventListener('click', seekHere);
    });
    this.section.addEventListener('keydown', (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches('select, textarea, input[type=number]')) return;
    const isButton = event.target.matches('button, summary, input[type=checkbox]');
    const key = event.key.toLowerCase();
    if (key === ' ' && !isButton) this.toggle();
    else if (key === 'l') this.controls.loop.click();
    else if (key === 'arrowleft') this.transport.seek(this.transport.position - 1);
    else if (key === 'arrowright') this.transport.seek(this.transport.position + 1);
    else if (this.blind) {
      if (!this.blind.key(key)) return;
    } else if (/^[1-9]$/.test(key) && Number(key) <= this.rows.length) this.transport.select(Number(key) - 1);
    else return;
    event.preventDefault();
  }

  async toggle() {
    if (this.transport.isPlaying) this.transport.pause();
    else await this.play();
  }

  /** Hear a track: switch to it while playing, start it otherwise, pause it if it is the one that plays. */
  async choose(index) {
    const { transport } = this;
    if (transport.isPlaying && transport.selected === index) transport.pause();
    else {
      transport.select(index);
      await this.play();
    }
  }

  async play() {
    this.failure = '';
    this.waiting = true;
    this.refresh();
    try {
      if (!this.transport.isPlaying) await this.transport.play();
    } catch (error) {
      this.failure = `This browser cannot play the audio (${error.message}).`;
      for (const row of this.rows) row.querySelector('audio').controls = !this.blind;
    }
    this.waiting = false;
    this.refresh();
  }

  refresh() {
    const { transport, section } = this;
    const { play, seek, time, loop } = this.controls;
    const word = transport.isPlaying ? 'Pause' : 'Play';
    section.classList.toggle('playing', transport.isPlaying);
    play.setAttribute('aria-label', word);
    loop.checked = transport.loop;
    this.rows.forEach((row, index) => {
      const isChosen = index === transport.selected && !this.blind;
      row.classList.toggle('chosen', isChosen);
      if (isChosen) row.setAttribute('aria-current', 'true');
      else row.removeAttribute('aria-current');
      const title = this.clip.tracks[index].title;
      row.querySelector('.choose').setAttribute('aria-label', isChosen ? `${word} ${title}` : `Play ${title}`);
    });
    if (this.blind) this.blind.refresh();
    const heard = this.blind ? this.blind.heard : this.clip.tracks[transport.selected].title;
    const words = this.failure || (this.waiting && !transport.isPlaying ? 'Preparing …' : heard);
    if (this.state.textContent !== words) this.state.textContent = words;
    this.#move();
    if (transport.isPlaying && !this.frame) this.#follow();
  }

  #follow() {
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#move();
      if (this.transport.isPlaying) this.#follow();
    });
  }

  #move() {
    const { position, duration } = this.transport;
    const { seek, time } = this.controls;
    seek.value = String(position);
    const words = `${position.toFixed(1)} / ${duration.toFixed(1)} s`;
    if (time.textContent !== words) {
      time.textContent = words;
      seek.setAttribute('aria-valuetext', `${position.toFixed(1)} seconds`);
    }
    this.section.style.setProperty('--at', String(position / duration));
  }
}
