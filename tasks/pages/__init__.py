"""What the pages of all datasets share, and an app as well.

A dataset's room shows its clips in two steps:

    view.py      Snapshot + a folder for pictures -> typed views of clips: names, texts, numbers, films. No HTML.
    report/      views -> index.html: a template that fills the blocks of page.html.j2, and the page's own charts

    page         PageContext, write_page            views     what every clip's view has
    film         a clip's film and stills           charts    charts as inline SVG
    funnel       the yield; what ended on the way   usage     calls, tokens and cost
    marks        phrases of a text in colour        colours   colours, and one an instance
    wording      numbers and texts as pages write them

They are seen in a browser with `triptych serve`, which shows snapshots as well:

    server       the web application                  address   where a report is, for links
    published    what roots hold                      stored_files   their files, found safely

    page.html.j2   header, yield, reasons, how to ask      parts.html.j2   the card of a clip, bars, marked texts
    usage.html.j2  calls, tokens and cost                  device.html.j2  how busy devices were
    style.css.j2   looks, light and dark                   film.js.j2      plays films, moves charts with them
    served.html.j2, index, snapshot: the server's own pages

What a page shows of captions, paths, reasons and rationales is other people's text: the templates escape it.
"""
