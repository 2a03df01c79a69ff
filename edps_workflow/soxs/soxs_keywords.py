"""Header keywords for classification, grouping and association, as EDPS writes them."""

# What, when, how long
instrume = "instrume"
target_name = "object"
mjd_obs = "mjd-obs"
exptime = "exptime"

# Classification
dpr_catg = "dpr.catg"
dpr_type = "dpr.type"
dpr_tech = "dpr.tech"
pro_catg = "pro.catg"
seq_arm = "seq.arm"

# Observation and template
obs_id = "obs.id"
obs_targ_name = "obs.targ.name"
tpl_id = "tpl.id"
tpl_name = "tpl.name"
tpl_start = "tpl.start"

# Detector
det_binx = "det.binx"
det_biny = "det.biny"
det_read_curid = "det.read.curid"
det_read_curname = "det.read.curname"

# Slit wheels of the UV-VIS and the NIR spectrograph, and whether they were simulated
ins_vise_name = "ins.vise.name"
ins_nise_name = "ins.nise.name"
ins_vise_swsim = "ins.vise.swsim"
ins_nise_swsim = "ins.nise.swsim"

# Lamps that tell one UV-VIS flat from another
ins_qth_name = "ins.qth.name"
ins_deut_name = "ins.deut.name"
