// The settings: what was moved is restored anew, once it stays as it is.
const page = (window.lightendiff ??= {});
const PAUSE = 400; // milliseconds
const same = (a, b) => a && b && a.every((each, i) => Number(each) === Number(b[i]));
let wanted = null, asked = null, timer = null;

page.fits = (settings) => !wanted || same(settings, wanted);

// Called with a file and the settings before they are sent to be restored.
page.asks = (...given) => {
  clearTimeout(timer);
  wanted = asked = given.slice(1);
  update();
  return given;
};

// Called with the settings whenever one of them is changed, by mouse, keyboard, number or program.
page.moved = (...settings) => {
  wanted = settings;
  update();
  clearTimeout(timer);
  timer = setTimeout(() => {
    const fields = [...document.querySelectorAll("#settings input")];
    const whole = fields.every(({ value, validity }) => value && !validity.rangeUnderflow && !validity.rangeOverflow);
    if (asked && !same(wanted, asked) && whole) document.querySelector("#photo-restore")?.click();
  }, PAUSE);
};

// Nothing is asked for any more: the photo was taken away, or its work stopped.
page.forgets = (gone) => {
  clearTimeout(timer);
  asked = gone ? null : [];
};

// The page's own event comes a moment later.
document.addEventListener("input", ({ target }) => {
  const setting = target.closest?.("#settings [id^=setting-]");
  if (!setting || !wanted) return;
  wanted = wanted.map((each, i) => (setting.id === `setting-${i}` ? target.value : each));
  update();
}, true);

function update() {
  for (const show of page.comparisons ?? []) show();
  page.marks?.(wanted);
}
