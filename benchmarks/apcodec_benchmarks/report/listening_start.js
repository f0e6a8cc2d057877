/* The page comes to life, and results are collected. */

class ResultList {
  constructor(section, report) {
    this.section = section;
    this.report = report;
    this.sessions = [];
    this.field = section.querySelector('.json');
    section.querySelector('.download').addEventListener('click', () => this.#save());
    section.querySelector('.copy').addEventListener('click', () => this.#copy());
  }

  add(result) {
    this.sessions.push(result);
    const item = document.createElement('li');
    item.textContent = `${result.clip}: ${sentence(result)}`;
    this.section.querySelector('.sessions').append(item);
    const values = { format: 'apcodec-listening', format_version: 1, report: this.report, sessions: this.sessions };
    this.field.value = JSON.stringify(values, null, 1);
    this.section.hidden = false;
  }

  #save() {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([this.field.value + '\n'], { type: 'application/json' }));
    link.download = 'listening-results.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async #copy() {
    const said = this.section.querySelector('.copied');
    try {
      await navigator.clipboard.writeText(this.field.value);
      said.textContent = 'Copied.';
    } catch {
      this.field.closest('details').open = true;
      this.field.focus();
      this.field.select();
      said.textContent = 'This browser does not let a page copy; the text is selected, copy it by hand.';
    }
  }
}

const data = JSON.parse(document.getElementById('data').textContent);
const results = new ResultList(document.getElementById('results'), { made: data.made, command: data.command });
for (const section of document.querySelectorAll('.clip')) {
  const player = new Player(section, data.clips[Number(section.dataset.clip)]);
  new BlindTest(player, (result) => results.add(result));
}
