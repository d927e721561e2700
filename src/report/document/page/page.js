(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const data = JSON.parse(document.getElementById("walk")?.textContent ?? "null");
  const panel = document.getElementById("point");
  let shown = null;

  const make = (name, text) => {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  };
  const shorten = (text) => {
    const all = [...text];
    return all.length <= 48 ? text : all.slice(0, 24).join("") + "…" + all.slice(-23).join("");
  };
  const hide = () => {
    shown?.classList.remove("on");
    shown = null;
    tip.hidden = true;
  };
  const show = (hit) => {
    hide();
    shown = hit;
    hit.classList.add("on");
    tip.textContent = hit.dataset.tip;
    tip.hidden = false;
    const box = hit.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const left = Math.min(Math.max(12, box.left + box.width / 2 - width / 2), innerWidth - width - 12);
    const above = box.top - height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 8 ? Math.min(box.bottom + 8, innerHeight - height - 8) : above}px`;
  };
  const configure = (hit) => {
    if (!data || !panel || hit.dataset.point === undefined) return;
    const point = Number(hit.dataset.point);
    const choices = [...data.start];
    data.flips.slice(0, point).forEach(([group, to]) => { choices[group] = to; });
    const own = document.querySelector(`[data-point="${point}"]`);
    const [title, ...lines] = own.dataset.tip.split("\n");
    const list = make("dl", "");
    data.candidates.forEach((candidate, choice) => {
      const names = data.groups.filter((_, group) => choices[group] === choice);
      if (names.length === 0) return;
      const all = make("dd", "");
      names.forEach((name) => {
        const span = make("span", shorten(name));
        span.title = name;
        all.append(span, " ");
      });
      list.append(make("dt", `${candidate} × ${names.length}`), all);
    });
    panel.replaceChildren(make("h3", title[0].toUpperCase() + title.slice(1)), make("p", lines.join("\n")), list);
  };

  const start = (hits, titles) => {
    hits.forEach((hit, at) => {
      hit.dataset.tip = titles[at];
      hit.setAttribute("role", "img");
      hit.setAttribute("aria-label", titles[at]);
      hit.tabIndex = -1;
      hit.querySelector("title")?.remove();
    });
  };
  document.querySelectorAll("figure").forEach((figure) => {
    const [wide, narrow] = [...figure.querySelectorAll("svg")].map((svg) => [...svg.querySelectorAll(".hit")]);
    const titles = wide.map((hit) => hit.querySelector("title").textContent);
    start(wide, titles);
    start(narrow, titles);
  });

  document.querySelectorAll("figure svg").forEach((svg) => {
    const hits = [...svg.querySelectorAll(".hit")];
    if (hits.length === 0) return;
    let current = hits[0];
    current.tabIndex = 0;
    const of = (event) => event.target.closest?.(".hit");
    const focus = (hit) => {
      current.tabIndex = -1;
      current = hit;
      current.tabIndex = 0;
      current.focus();
    };
    svg.addEventListener("pointerover", (event) => { const hit = of(event); if (hit) show(hit); });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("focusin", (event) => { const hit = of(event); if (hit) { show(hit); configure(hit); } });
    svg.addEventListener("focusout", hide);
    svg.addEventListener("click", (event) => { const hit = of(event); if (hit) { focus(hit); show(hit); configure(hit); } });
    svg.addEventListener("keydown", (event) => {
      const at = hits.indexOf(current);
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: hits.length - 1 }[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined || !hits[to]) return;
      event.preventDefault();
      focus(hits[to]);
    });
  });
  addEventListener("scroll", hide, { passive: true, capture: true });
})();
