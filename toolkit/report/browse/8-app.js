// Which view is shown, by the link after #; and the keys.

const HELP = [
  ["j k ↓ ↑", "next, before"],
  ["Enter", "open"],
  ["Esc", "back"],
  ["/", "search"],
  ["n p", "next problem, problem before"],
  ["h l", "text before, next text of an answer"],
  ["d", "diff with the base"],
  ["b", "make this answer the base"],
  ["w", "wrap long lines"],
  ["?", "these keys"],
];

class App {
  constructor({ head, problems }) {
    this.head = head;
    this.problems = problems;
    this.byId = new Map(problems.map((problem, i) => [problem.id, i]));
    this.root = document.getElementById("app");
    this.place = el("div", { class: "view" });
    this.help = el("footer", {}, this.helpLine());
    this.root.replaceChildren(this.place, this.help);
    this.overview = new ProblemsView(head, problems);
    addEventListener("hashchange", () => this.route());
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("beforeprint", () => this.view?.list.print(true));
    addEventListener("afterprint", () => this.view?.list.print(false));
    this.route();
  }

  helpLine() {
    return HELP.map(([keys, text]) => [el("span", {}, keys.split(" ").map((key) => el("kbd", {}, key)), " ", text), " "]);
  }

  neighbour(index, by) {
    const order = this.overview.order.includes(index) ? this.overview.order : this.problems.map((_, i) => i);
    return this.problems[order[order.indexOf(index) + by]];
  }

  async route() {
    const { taskId, answer, other } = readLink(location.hash);
    const index = this.byId.get(taskId);
    const turn = (this.turn = {});
    if (index === undefined) {
      this.routing = false;
      this.showOverview(taskId);
      return;
    }
    this.routing = true;
    try {
      const block = await blockOf(index);
      if (turn !== this.turn) return;
      if (this.problem?.problem.index !== index) {
        this.problem = new ProblemView(this, this.problems[index], block);
        this.show(this.problem);
      }
      this.problem.go(answer, other);
    } catch (error) {
      if (turn !== this.turn) return;
      this.fail(`The samples of this problem cannot be read (${error.message}). Make the page anew by jobs/browse.py.`);
    }
    this.routing = false;
  }

  showOverview(taskId) {
    if (this.problem) {
      const row = this.overview.order.indexOf(this.problem.problem.index);
      this.problem = null;
      this.show(this.overview);
      if (row >= 0) this.overview.list.show(this.overview.order.length, row);
    } else this.show(this.overview);
    this.place.querySelector(".missing")?.remove();
    if (taskId) this.place.prepend(el("p", { class: "note missing" }, "There is no problem of this name: ", oneLine(taskId, 80)));
  }

  show(view) {
    if (this.view === view) return;
    this.view = view;
    const title = view === this.overview ? this.head.title : `${view.problem.id} – ${this.head.title}`;
    document.title = oneLine(title);
    this.place.replaceChildren(view.node);
    view.list.refresh();
  }

  fail(text) {
    this.view = this.problem = null;
    this.place.replaceChildren(el("main", {}, el("p", { class: "note" }, text), el("a", { class: "button", href: "#" }, "← All")));
  }

  // Another answer without another step for the browser's Back.
  replace(hash) {
    history.replaceState(null, "", hash);
    this.route();
  }

  key(event) {
    const typing = event.target.closest("input, select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing && event.key !== "Escape" && !(event.key === "Enter" && typing.type === "search")) return;
    const action = this.action(event.key, typing);
    if (!action) return;
    event.preventDefault();
    action();
  }

  action(key, typing) {
    const problem = this.problem;
    const move = (by) => (problem ? problem.move(by) : this.overview.list.select(this.overview.list.selected + by));
    switch (key) {
      case "j":
      case "ArrowDown":
        return () => move(1);
      case "k":
      case "ArrowUp":
        return () => move(-1);
      case "/":
        return () => this.view?.search.focus();
      case "Enter":
        return this.enter(typing);
      case "Escape":
        return () => (typing ? typing.blur() : this.up());
      case "n":
      case "p": {
        const to = problem && this.neighbour(problem.problem.index, key === "n" ? 1 : -1);
        return to && (() => this.replace(link(to.id)));
      }
      case "h":
      case "l":
        return problem?.shown && problem.turn && (() => problem.turn(key === "l" ? 1 : -1));
      case "d":
        return problem && (() => problem.openDiff());
      case "b":
        return problem?.shown && (() => problem.makeBase(problem.shown));
      case "w":
        return () => document.body.classList.toggle("wrap");
      case "?":
        return () => this.help.classList.toggle("open");
      default:
        return null;
    }
  }

  enter(typing) {
    if (typing) {
      return () => {
        typing.blur();
        if (this.problem && this.problem.order.length) this.problem.move(this.problem.shown ? 0 : 1);
      };
    }
    // A link or button that has the focus is opened by the browser itself.
    if (document.activeElement?.closest("a, button")) return null;
    return this.problem ? () => this.problem.move(this.problem.shown ? 0 : 1) : () => this.overview.open();
  }

  // One step up: from a diff to the answer, from an answer to the problem, from that to the table.
  up() {
    const { taskId, answer, other } = readLink(location.hash);
    if (!this.problem) {
      this.overview.search.value = this.overview.filter.value = "";
      this.overview.arrange();
    } else if (other) location.hash = link(taskId, other);
    else if (answer) location.hash = link(taskId);
    else location.hash = "";
  }
}

async function start() {
  const root = document.getElementById("app");
  if (typeof DecompressionStream === "undefined") {
    root.replaceChildren(el("p", { class: "empty" }, "This browser is too old for this page. Chromium 103, Firefox 113, Safari 16.4 or newer show it."));
    return;
  }
  try {
    document.app = new App(await unpack("index"));
  } catch (error) {
    root.replaceChildren(el("p", { class: "empty" }, `This file is damaged (${error.message}). Make it anew by jobs/browse.py.`));
  }
}

start();
